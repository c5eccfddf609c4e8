"""The name under which a model's calls are in the ledger, found without loading the model."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spavl.errors import ConfigError

# A served model behind whatever names how it is asked, and the setting that holds nothing but addresses.
_ADDRESSED = re.compile(r"(openai/[^@\s\"]+)@https?://[^\s,\"]+(?:,https?://[^\s,\"]+)*")
_ADDRESSES = "addresses"
_OF_A_MODEL = (".safetensors", ".json", ".jinja", ".model", ".txt", ".bin", ".py")


def revision_of(folder: Path) -> str:
    """The hash of a checkpoint's files, so that other weights are never taken for the same model."""
    digest = hashlib.sha256()
    # Tokenizers, chat templates and a model's own code have endings of their own, and change answers as weights do.
    for file in sorted(path for path in folder.iterdir() if path.suffix in _OF_A_MODEL):
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


class ServedName(NamedTuple):
    """A model behind servers, as it is named: NAME, NAME@URL, NAME@URL,URL2 or NAME#REVISION@URL."""

    # With its revision, where it has one: which weights answer. Where they are served says nothing of that.
    identity: str
    # The name by which its servers know it.
    model: str
    urls: tuple[str, ...]


def served(rest: str) -> ServedName:
    identity, _, addresses = rest.partition("@")
    urls = tuple(url.strip().rstrip("/") for url in addresses.split(",") if url.strip())
    return ServedName(identity, identity.partition("#")[0], urls)


def lacks_address(rest: str) -> bool:
    """NAME@ with nothing behind it: a model that its user will serve, as most of a pool are until they are started."""
    return "@" in rest and not served(rest).urls


def openai_name(model: str) -> str:
    return f"openai/{served(model).identity}"


def former_names(rest: str, known: Sequence[str]) -> tuple[str, ...]:
    """The names under which calls to this model may stand in a ledger from when the address was part of the name.

    The only one there is this model's, wherever it was served. Of several, which may have been other weights each, only
    those of its own addresses are. With a revision it is another model than any of them.
    """
    identity, model, urls = served(rest)
    if identity != model or not urls:
        return ()
    found = [name for name in known if name.startswith(f"openai/{model}@")]
    own = [f"openai/{model}@{url}" for url in urls]
    return tuple(found) if len(found) < 2 else tuple(name for name in own if name in found)


def without_addresses(settings: Any) -> Any:
    """The same names, wherever they stand, without the addresses of servers."""
    if isinstance(settings, str):
        return _ADDRESSED.sub(r"\1", settings)
    if isinstance(settings, dict):
        kept = {name: value for name, value in settings.items() if name != _ADDRESSES}
        return {without_addresses(name): without_addresses(value) for name, value in kept.items()}
    return [without_addresses(each) for each in settings] if isinstance(settings, list | tuple) else settings


def pinned(path: str) -> tuple[str, str | None]:
    """A folder, or a hub id with the revision it is held to: OWNER/NAME@REVISION, a commit, a tag or a branch."""
    if Path(path).exists():
        return path, None
    place, _, revision = path.partition("@")
    return place, revision or None


def with_revision(path: str, commit: str | None) -> str:
    """A folder or a hub id with what tells its weights: the hub's commit, or the hash of the folder's files."""
    return f"{pinned(path)[0]}#{commit or revision_of(Path(path))}"


def hf_name(path: str, known: Sequence[str]) -> str | None:
    """The name of an `hf/` model among those that a ledger knows; None where it holds no call of this model."""
    folder, (place, revision) = Path(path), pinned(path)
    prefix = f"hf/{folder.name if folder.is_dir() else place}#"
    found = [name for name in known if name.startswith(prefix)]
    if len(found) > 1 and folder.is_dir():
        own = prefix + revision_of(folder)
        return next((name for name in found if name.startswith(own)), own)
    if revision and (meant := [name for name in found if name.startswith(prefix + revision)]):
        return meant[0]
    if len(found) > 1:
        then = f"name the one you mean, as in hf/{place}@{found[-1].removeprefix(prefix)}: {', '.join(found)}"
        raise ConfigError("the ledger knows several revisions of this model", where=f"hf/{path}", then=then)
    return found[0] if found else None
