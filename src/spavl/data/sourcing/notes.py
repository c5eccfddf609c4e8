from collections.abc import Mapping

from spavl.stages.notes import StageNotes


class SourcingNotes(StageNotes):
    # Of a data set from a hub: its commit, and how many of its archives were not downloaded.
    revision: str | None = None
    packed_on_hub: int | None = None
    # Of a source that was searched: how many images it has, and how many were left out, by reason.
    images_in_source: int | None = None
    left_out: Mapping[str, int] = {}
    search_model: str | None = None
