from collections.abc import Mapping

from spavl.stages.notes import StageNotes


class CaptionsNotes(StageNotes):
    # Images that got only the source's caption because no writer was set.
    by_source: int = 0
    # Images for which a text of the writer could not be used, by reason.
    fallbacks: Mapping[str, int] = {}
    without_caption: int = 0
