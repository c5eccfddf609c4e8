"""The training examples of the miniature's checkpoint."""

import random
from dataclasses import dataclass

from spavl.miniature.grammar import (
    CAPTION_REQUEST,
    VERBS,
    WRITE_REQUESTS,
    QuestionKind,
    speak_answer,
    speak_caption,
    speak_question,
)
from spavl.miniature.personas import PERSONAS, manner_of, manner_of_base
from spavl.miniature.world import NOUNS, Scene, scene

_KINDS: tuple[QuestionKind, ...] = ("easy", "hard", "statement")


@dataclass(frozen=True, slots=True)
class Lesson:
    """An image, a request (perhaps to a persona) and the answer to train on."""

    scene: Scene
    system: str | None
    request: str
    answer: str


def lesson(seed: int, number: int) -> Lesson:
    """Lesson `number` with this seed; a pure function, so that training can be stopped and resumed at any lesson."""
    rng = random.Random(f"{seed}/{number}")
    seen = scene(rng.randrange(len(NOUNS)), number, seed, live=rng.random() < 0.5)
    subject = rng.random()
    if subject < 0.3:
        return Lesson(seen, None, CAPTION_REQUEST, speak_caption(seen))
    if subject < 0.4:
        return _writing(rng, seen)
    kind, verb = rng.choice(_KINDS), rng.choice(VERBS)
    question = speak_question(rng, kind, verb)
    if subject < 0.6:
        manner = manner_of_base(rng, seen.live, kind, verb)
        return Lesson(seen, None, question, speak_answer(rng, seen, verb, manner))
    persona = rng.choice(tuple(PERSONAS.values()))
    manner = manner_of(persona, rng, seen.live)
    return Lesson(seen, persona.system_prompt, question, speak_answer(rng, seen, verb, manner))


def _writing(rng: random.Random, seen: Scene) -> Lesson:
    kind, verb = rng.choice(_KINDS), rng.choice(VERBS)
    easy = speak_question(rng, "easy", verb)
    request = WRITE_REQUESTS[kind].format(easy=easy)
    return Lesson(seen, None, request, easy if kind == "easy" else speak_question(rng, kind, verb))


def vocabulary() -> tuple[str, ...]:
    """Every word that a lesson can contain, sorted: the vocabulary of the tokenizer."""
    from spavl.miniature.grammar import FRAMES

    rng = random.Random(0)
    words: set[str] = set()
    for position in range(len(NOUNS)):
        for live in (True, False):
            seen = scene(position, 0, 0, live)
            for manner in ("full", "short", "warned", "reasoned", "plain"):
                words.update(speak_answer(rng, seen, VERBS[0], manner).split())
    for ground in ("pale", "grey", "mossy"):
        words.update(speak_caption(Scene(seen.thing, True, ground, 0)).split())
    sentences = [frame for frames in FRAMES.values() for frame in frames]
    sentences += [CAPTION_REQUEST, *WRITE_REQUESTS.values(), "that is a nice picture .", "i see many colours here ."]
    sentences += [persona.system_prompt for persona in PERSONAS.values()] + list(VERBS) + ["a toy", "a live"]
    for sentence in sentences:
        words.update(word for word in sentence.split() if "{" not in word)
    return tuple(sorted(words))
