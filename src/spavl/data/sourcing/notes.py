from collections.abc import Mapping

from spavl.stages.notes import StageNotes


class SourcingNotes(StageNotes):
    # For a data set from a hub: its commit, and the number of packed archives that were not downloaded.
    revision: str | None = None
    packed_on_hub: int | None = None
    # For a searched source: the number of its images, and the numbers left out, by reason.
    images_in_source: int | None = None
    left_out: Mapping[str, int] = {}
    search_model: str | None = None
