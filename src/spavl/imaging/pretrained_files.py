"""Loads parts of a model that a setting names: a folder, or a hub id with or without a revision."""

from pathlib import Path
from typing import Any

from spavl.errors import ConfigError, MissingExtra, how_to_install


class PretrainedFiles:
    """A model's files. `setting` is the setting that names it, and `then` what to set it to, for error messages."""

    def __init__(self, path: str, setting: str, then: str) -> None:
        self.where, self.then = f"{setting} = {path}", then
        place, _, revision = path.partition("@")
        self._place, self._revision = (path, None) if Path(path).exists() else (place, revision or None)
        try:
            import torch
            import transformers
        except ModuleNotFoundError as error:
            needs = f"this model needs {error.name}"
            raise MissingExtra(needs, where=self.where, then=how_to_install("hf")) from None
        self.torch: Any = torch
        self.kinds: Any = transformers

    @property
    def commit(self) -> str | None:
        """The commit of a hub model; None for a local folder."""
        if Path(self._place).is_dir():
            return None
        return Path(self.kinds.utils.cached_file(self._place, "config.json", revision=self._revision)).parent.name

    def file(self, name: str) -> Path | None:
        """A file of the model; None if it has no such file."""
        try:
            found = self.kinds.utils.cached_file(
                self._place, name, revision=self._revision, _raise_exceptions_for_missing_entries=False
            )
        except OSError as error:
            raise self.fault(f"cannot load it: {error}") from None
        return Path(found) if found else None

    def load(self, kind: Any, **options: Any) -> Any:
        try:
            held = {"revision": self._revision} if self._revision else {}
            return kind.from_pretrained(self._place, trust_remote_code=False, **held, **options)
        except (OSError, ValueError, ImportError) as error:
            if "trust_remote_code" in str(error):
                what = "this model comes with Python code of its own, which is never run for images of strangers"
                raise self.fault(what, ", whose class is in transformers") from None
            raise self.fault(f"cannot load it: {error}") from None

    def fault(self, what: str, more: str = "") -> ConfigError:
        return ConfigError(what, where=self.where, then=self.then + more)

    def device(self, wanted: str) -> str:
        return "cuda" if wanted == "fastest" and self.torch.cuda.is_available() else "cpu"
