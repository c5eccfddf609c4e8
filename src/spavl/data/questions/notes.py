from collections.abc import Mapping

from spavl.stages.notes import StageNotes


class QuestionsNotes(StageNotes):
    kinds: Mapping[str, int] = {}
    # Questions by where the checker found their harm; empty without a checker.
    modality: Mapping[str, int] = {}
    # Questions that needed a second try.
    second_tries: int = 0
    # Questions about images whose written caption could not be used.
    of_fallback: int = 0
    # The language of the questions if it was not checked, else empty.
    unchecked_language: str = ""
