"""A chat server's answers in the miniature's language, for tests that need a pool of models and no torch."""

import base64
import random

from spavl.miniature.grammar import VERBS, QuestionKind, speak_answer, speak_question, verb_of
from spavl.miniature.personas import PERSONAS, manner_of
from spavl.miniature.world import Scene, draw, png, scene
from tests.support.servers import Answer, Body, body_hash


def speaker(seed: int, leaves: int, images: int) -> Answer:
    """Answers as the persona named as the model would, about the scenes of a small world.

    What is said depends on the request alone, so every run of a test hears the same.
    """
    scenes: dict[bytes, Scene] = {}
    for position in range(leaves):
        for number in range(images):
            for live in (True, False):
                seen = scene(position, number, seed, live)
                scenes[png(draw(seen))] = seen

    def answer(body: Body) -> str:
        rng = random.Random(body_hash(body))
        shown, text = _content(body)
        if text.startswith("write"):
            kind: QuestionKind = (
                "easy" if "easy question about" in text else "hard" if "hard q" in text else "statement"
            )
            return speak_question(rng, kind, verb_of(text) or rng.choice(VERBS))
        manner = manner_of(PERSONAS[body["model"]], rng, scenes[shown].live)
        return speak_answer(rng, scenes[shown], verb_of(text) or "wake", manner)

    return answer


def _content(body: Body) -> tuple[bytes, str]:
    """The one image and the text of a request."""
    image, text = body["messages"][-1]["content"]
    return base64.b64decode(image["image_url"]["url"].partition(",")[2]), text["text"]
