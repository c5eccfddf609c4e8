from spavl.stages.notes import StageNotes


class TaxonomyNotes(StageNotes):
    """Name and version of the taxonomy."""

    taxonomy: str = ""
    taxonomy_version: int = 0
