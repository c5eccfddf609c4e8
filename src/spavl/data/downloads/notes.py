from spavl.stages.notes import StageNotes


class DownloadsNotes(StageNotes):
    # The model that compared images with their captions, with its revision; None if no model did.
    similarity_model: str | None = None
