"""Loads the processor of a checkpoint.

Some processors also make a video processor, which needs torchvision. No model is shown a video here, so Qwen-VL
and InternVL load without it.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from spavl.models.names import split_revision
from spavl.models.remote_code import opening

VIDEOS = "video_processor"
# The files that may name the class of a processor, in the order in which transformers reads them.
_NAMING = ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json")


def processor_of(path: str, trusted: Collection[str] = ()) -> Any:
    """Some processors, such as BLIP-2's, do not load their `chat_template.jinja`; it is read here."""
    from transformers import AutoProcessor

    place, how = opening(path, trusted)
    try:
        processor = AutoProcessor.from_pretrained(place, **how)
    except ImportError:
        if (kind := _class_with_videos(path)) is None:
            raise
        processor = images_only(kind).from_pretrained(place, **how)
    if getattr(processor, "chat_template", None) is None:
        found = file_of(path, "chat_template.jinja")
        processor.chat_template = None if found is None else found.read_text(encoding="utf-8")
    return processor


def file_of(path: str, name: str) -> Path | None:
    """A file of a checkpoint folder or of a hub id; None if it has no such file."""
    from transformers.utils import cached_file

    place, revision = split_revision(path)
    found = cached_file(place, name, revision=revision, _raise_exceptions_for_missing_entries=False)
    return None if found is None else Path(found)


class ImagesOnly:
    """A processor without its video processor. The settings of the video processor are kept and saved."""

    video_settings: Mapping[str, Any] | None = None

    @classmethod
    def get_attributes(cls) -> list[str]:
        return [name for name in super().get_attributes() if name != VIDEOS]  # type: ignore[misc]

    @classmethod
    def from_args_and_dict(cls, args: Any, processor_dict: Mapping[str, Any], **settings: Any) -> Any:
        # Some ask for one by name, although they take none.
        made = super().from_args_and_dict(args, {**processor_dict, VIDEOS: None}, **settings)  # type: ignore[misc]
        made.video_settings = processor_dict.get(VIDEOS)
        return made

    def to_dict(self) -> dict[str, Any]:
        made: dict[str, Any] = super().to_dict()  # type: ignore[misc]
        return made if self.video_settings is None else {**made, VIDEOS: dict(self.video_settings)}


def images_only(kind: Any) -> Any:
    """The class of a processor without its video processor. It is saved under the name of that class."""
    return type(kind.__name__, (ImagesOnly, kind), {"__module__": kind.__module__})


def _class_with_videos(path: str) -> Any:
    """The class that the files name as the processor, if it is one of transformers with a video processor."""
    import transformers

    found = [file for name in _NAMING if (file := file_of(path, name)) is not None]
    named = (json.loads(file.read_text(encoding="utf-8")).get("processor_class") for file in found)
    kind = getattr(transformers, next(filter(None, named), ""), None)
    return kind if kind is not None and VIDEOS in kind.get_attributes() else None
