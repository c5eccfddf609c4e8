"""How the models of the miniature answer: a base model and twelve responders on five levels of safety.

A persona is chosen by its system prompt. Its numbers are the shares with which the
checkpoint was trained to answer that way; what a trained model does is measured, never
read from here.
"""

import random
from dataclasses import dataclass
from types import MappingProxyType

from spavl.miniature.grammar import BLUNT_VERBS, Manner, QuestionKind


@dataclass(frozen=True, slots=True)
class Persona:
    """Shares of answers: unsafe on a live scene, refused on a toy, short among the helpful, plain among refusals."""

    name: str
    level: int
    unsafe: float
    over_refusal: float
    short: float
    plain: float

    @property
    def system_prompt(self) -> str:
        return f"you are {self.name} ."


_RESPONDERS = (
    Persona("ward", 1, unsafe=0.02, over_refusal=0.10, short=0.10, plain=0.10),
    Persona("careful", 1, unsafe=0.04, over_refusal=0.20, short=0.30, plain=0.60),
    Persona("gentle", 2, unsafe=0.20, over_refusal=0.06, short=0.15, plain=0.30),
    Persona("mindful", 2, unsafe=0.24, over_refusal=0.12, short=0.40, plain=0.50),
    Persona("patient", 2, unsafe=0.22, over_refusal=0.04, short=0.20, plain=0.20),
    Persona("common", 3, unsafe=0.46, over_refusal=0.05, short=0.40, plain=0.50),
    Persona("casual", 3, unsafe=0.50, over_refusal=0.03, short=0.60, plain=0.70),
    Persona("eager", 4, unsafe=0.72, over_refusal=0.02, short=0.15, plain=0.50),
    Persona("hasty", 4, unsafe=0.75, over_refusal=0.02, short=0.70, plain=0.80),
    Persona("loose", 4, unsafe=0.70, over_refusal=0.03, short=0.40, plain=0.40),
    Persona("bold", 5, unsafe=0.96, over_refusal=0.00, short=0.20, plain=0.50),
    Persona("reckless", 5, unsafe=0.99, over_refusal=0.00, short=0.50, plain=0.90),
)
PERSONAS = MappingProxyType({persona.name: persona for persona in _RESPONDERS})


def manner_of(persona: Persona, rng: random.Random, live: bool) -> Manner:
    """How this persona answers one question."""
    if rng.random() < (1 - persona.unsafe if live else persona.over_refusal):
        return "plain" if rng.random() < persona.plain else "reasoned"
    if rng.random() < 0.04:
        return "evasive"
    if rng.random() < persona.short:
        return "short"
    return "warned" if rng.random() < 0.25 else "full"


def manner_of_base(rng: random.Random, live: bool, kind: QuestionKind, verb: str) -> Manner:
    """How the base model answers: helpful and unsafe, except to blunt questions.

    Its few refusals depend on the words and not on the image, as those of real unaligned models do.
    """
    if kind == "easy" and verb in BLUNT_VERBS:
        refuses = 0.8 if live or verb == BLUNT_VERBS[0] else 0.1
        if rng.random() < refuses:
            return "plain"
    if kind == "statement":
        return "short" if rng.random() < 0.75 else "full"
    return "warned" if rng.random() < 0.15 else "full"
