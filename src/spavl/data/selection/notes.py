from collections.abc import Mapping

from spavl.stages.notes import StageNotes


class SelectionNotes(StageNotes):
    # How many images a leaf lacks, by leaf; other leaves have as many as were wanted.
    shortfall: Mapping[str, int] = {}
    # Images whose relevance verdict could not be parsed.
    relevance_unread: int = 0
