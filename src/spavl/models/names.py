"""The name under which a model's calls are in the ledger, found without loading the model."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spavl.errors import ConfigError

# A served model with its addresses, after any prefix; and the setting that contains only addresses.
_ADDRESSED = re.compile(r"(openai/[^@\s\"]+)@https?://[^\s,\"]+(?:,https?://[^\s,\"]+)*")
_ADDRESSES = "addresses"
_OF_A_MODEL = (".safetensors", ".json", ".jinja", ".model", ".txt", ".bin", ".py")


def revision_of(folder: Path) -> str:
    """The hash of a checkpoint's files, so that other weights have another name."""
    digest = hashlib.sha256()
    # Tokenizers, chat templates and a model's own code change answers as weights do.
    for file in sorted(path for path in folder.iterdir() if path.suffix in _OF_A_MODEL):
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


class ServedName(NamedTuple):
    """The parts of a served model's name: NAME, NAME@URL, NAME@URL,URL2 or NAME#REVISION@URL."""

    # The name with the revision, if it has one. It identifies the weights; the address does not.
    identity: str
    # The name that is sent to the server.
    model: str
    urls: tuple[str, ...]


def parse_served_name(rest: str) -> ServedName:
    identity, _, addresses = rest.partition("@")
    urls = tuple(url.strip().rstrip("/") for url in addresses.split(",") if url.strip())
    return ServedName(identity, identity.partition("#")[0], urls)


def lacks_address(rest: str) -> bool:
    """NAME@ without an address: a model that the user will serve, as most of a pool before they are started."""
    return "@" in rest and not parse_served_name(rest).urls


def openai_name(model: str) -> str:
    return f"openai/{parse_served_name(model).identity}"


def former_names(rest: str, known: Sequence[str]) -> tuple[str, ...]:
    """The names of this model in ledgers of earlier versions, in which the address was part of the name.

    If a ledger has one such name, it is this model's, wherever it was served. Several names may be different weights,
    so only those with the model's own addresses count. A model with a revision has no former names.
    """
    identity, model, urls = parse_served_name(rest)
    if identity != model or not urls:
        return ()
    found = [name for name in known if name.startswith(f"openai/{model}@")]
    own = [f"openai/{model}@{url}" for url in urls]
    return tuple(found) if len(found) < 2 else tuple(name for name in own if name in found)


def without_addresses(settings: Any) -> Any:
    """The settings without the addresses of servers in the names of models."""
    if isinstance(settings, str):
        return _ADDRESSED.sub(r"\1", settings)
    if isinstance(settings, dict):
        kept = {name: value for name, value in settings.items() if name != _ADDRESSES}
        return {without_addresses(name): without_addresses(value) for name, value in kept.items()}
    return [without_addresses(each) for each in settings] if isinstance(settings, list | tuple) else settings


def split_revision(path: str) -> tuple[str, str | None]:
    """A folder, or a hub id and its revision: OWNER/NAME@REVISION with a commit, a tag or a branch."""
    if Path(path).exists():
        return path, None
    place, _, revision = path.partition("@")
    return place, revision or None


def with_revision(path: str, commit: str | None) -> str:
    """A folder or a hub id with the revision of its weights: the hub's commit, or the hash of the folder's files."""
    return f"{split_revision(path)[0]}#{commit or revision_of(Path(path))}"


def hf_name(path: str, known: Sequence[str]) -> str | None:
    """The name of an `hf/` model among those in a ledger; None if the ledger has no call of this model."""
    folder, (place, revision) = Path(path), split_revision(path)
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
