from collections.abc import Mapping

from spavl.stages.notes import StageNotes


class CaptionsNotes(StageNotes):
    # Images whose caption is the one of the source.
    by_source: int = 0
    # Images whose written caption could not be used, by reason.
    fallbacks: Mapping[str, int] = {}
    without_caption: int = 0
