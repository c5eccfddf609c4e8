from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from spavl.data.downloads.config import DownloadsConfig
from spavl.stages.notes import RegionNotes, RegionSetting, StageNotes

# The reject reason of each measure.
REASONS = {"faces": "face", "personal_words": "personal_data"}


class DownloadsNotes(StageNotes):
    # The model that compared images with their captions, with its revision; None if no model did.
    similarity_model: str | None = None
    # None if not looked for.
    faces: RegionNotes | None = None
    personal_words: RegionNotes | None = None


def region_notes(
    settings: DownloadsConfig, measures: Iterable[Sequence[str]], rejected: Mapping[str, int]
) -> dict[str, RegionNotes]:
    """What was found by each filter for persons that is on.

    `measures` are those of each image that was kept, and `rejected` the number of images by reject reason.
    """
    actions: dict[str, RegionSetting] = {"faces": settings.faces, "personal_words": settings.personal_words}
    counts = {name: Counter[str]() for name, action in actions.items() if action != "keep"}
    if counts:
        for own in measures:
            measured = dict(measure.split("=") for measure in own)
            for name, counted in counts.items():
                found = int(float(measured[name]))
                counted.update(searched=1, found=found, images=found > 0)
    return {name: _notes_of(actions[name], counted, rejected.get(REASONS[name], 0)) for name, counted in counts.items()}


def _notes_of(action: RegionSetting, counted: Counter[str], dropped: int) -> RegionNotes:
    return RegionNotes(
        action=action,
        searched=counted["searched"] + dropped,
        images=counted["images"] + dropped,
        found=counted["found"],
        dropped=dropped,
    )
