from spavl.data.downloads.config import RegionSetting
from spavl.stages.notes import JsonRecord, StageNotes

# The reject reason of each measure.
REASONS = {"faces": "face", "personal_words": "personal_data"}


class RegionNotes(JsonRecord):
    """Images that were searched for faces or for personal data in words, and what was found and done."""

    action: RegionSetting
    searched: int
    # Images in which something was found, rejected ones included.
    images: int
    # Faces, or finds in words, of the images that were kept.
    found: int
    dropped: int


class DownloadsNotes(StageNotes):
    # The model that compared images with their captions, with its revision; None if no model did.
    similarity_model: str | None = None
    # None if not looked for.
    faces: RegionNotes | None = None
    personal_words: RegionNotes | None = None
