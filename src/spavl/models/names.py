"""The name under which a model's calls stand in the ledger, found without loading the model."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from spavl.errors import ConfigError

_OF_A_MODEL = (".safetensors", ".json", ".jinja", ".model", ".txt", ".bin")


def revision_of(folder: Path) -> str:
    """The hash of a checkpoint's files, so that other weights are never taken for the same model."""
    digest = hashlib.sha256()
    # Tokenizers and chat templates have endings of their own, and change answers as weights do.
    for file in sorted(path for path in folder.iterdir() if path.suffix in _OF_A_MODEL):
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


def openai_name(model: str, url: str | None) -> str:
    # The address is part of the name when it was given: two servers may serve different weights as one name.
    return f"openai/{model}" + (f"@{url.rstrip('/')}" if url else "")


def hf_name(path: str, known: Sequence[str]) -> str | None:
    """The name of an `hf/` model among those that a ledger knows; None where it holds no call of this model."""
    folder = Path(path)
    prefix = f"hf/{folder.name if folder.is_dir() else path}#"
    found = [name for name in known if name.startswith(prefix)]
    if len(found) > 1 and folder.is_dir():
        own = prefix + revision_of(folder)
        return next((name for name in found if name.startswith(own)), own)
    if len(found) > 1:
        then = f"name a local folder that holds the one you mean: {', '.join(found)}"
        raise ConfigError("the ledger knows several revisions of this model", where=f"hf/{path}", then=then)
    return found[0] if found else None
