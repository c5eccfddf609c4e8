from collections.abc import Mapping

from spavl.stages.notes import StageNotes


class SelectionNotes(StageNotes):
    # The number of missing images, by leaf; leaves that are not listed have as many as were wanted.
    shortfall: Mapping[str, int] = {}
    # Images whose relevance verdict could not be parsed.
    relevance_unread: int = 0
