from collections.abc import Mapping

from spavl.stages.notes import StageNotes


class QuestionsNotes(StageNotes):
    kinds: Mapping[str, int] = {}
    # Questions by where the checker found their harm; empty where no checker was asked.
    modality: Mapping[str, int] = {}
    # Questions that were written a second time.
    second_tries: int = 0
    # Questions about images whose written caption could not be used.
    of_fallback: int = 0
    # The language of the questions if nothing checked it, else empty.
    unchecked_language: str = ""
