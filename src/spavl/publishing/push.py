"""Uploads a finished data set to a hub: shard by shard, in few commits, and no shard that is there already."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spavl.errors import ConfigError, MissingExtra, ProviderError, how_to_install
from spavl.publishing.card import REPO
from spavl.publishing.held_keys import refuse_keys
from spavl.terminal.progress import Screen

# A compromise: hubs limit the commits per hour, and a failed commit loses all of its shards.
_SHARDS_A_COMMIT = 25


class PushResult(NamedTuple):
    url: str
    uploaded: int
    there_before: int
    commits: int


def push(folder: Path, repo: str, private: bool, screen: Screen, allow_key_shapes: bool = False) -> PushResult:
    """Make the repository equal to the folder. The card is uploaded last, so that it never names a missing shard."""
    if repo.count("/") != 1:
        raise ConfigError("this is no name of a repository", where=repo, then="write it as OWNER/NAME")
    api = _hub()
    local = {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}
    refuse_keys(folder, local.values(), look_for_shapes=not allow_key_shapes)
    with _faults_in_words(repo):
        url = str(api.create_repo(repo, repo_type="dataset", private=private or None, exist_ok=True))
        there = _hashes_there(api, repo)
        shards = {name: file for name, file in local.items() if name.endswith(".parquet")}
        new = [name for name, file in shards.items() if there.get(name) != _sha256(file)]
        commits = 0
        with screen.bar("push", len(shards), len(shards) - len(new), unit="shards") as bar:
            for start in range(0, len(new), _SHARDS_A_COMMIT):
                _commit_shards(api, repo, {name: shards[name] for name in new[start:][:_SHARDS_A_COMMIT]}, bar.advance)
                commits += 1
        gone = [name for name in there if name not in local and name.endswith((".parquet", ".svg"))]
        rest = {name: _text(file, repo) for name, file in local.items() if name not in shards}
        commits += _commit_rest(api, repo, {k: v for k, v in rest.items() if there.get(k) != _blob_id(v)}, gone)
    return PushResult(url, len(new), len(shards) - len(new), commits)


def _hub() -> Any:
    try:
        from huggingface_hub import HfApi
    except ModuleNotFoundError as error:
        raise MissingExtra(f"asking a hub needs {error.name}", then=how_to_install("hub")) from None
    return HfApi()


def _hashes_there(api: Any, repo: str) -> dict[str, str]:
    """The files in the repository with their hashes: SHA-256 of LFS files, git's blob id of others."""
    from huggingface_hub.hf_api import RepoFile

    tree = api.list_repo_tree(repo, recursive=True, repo_type="dataset")
    files = [each for each in tree if isinstance(each, RepoFile)]
    return {each.path: each.lfs.sha256 if each.lfs else each.blob_id for each in files}


def _commit_shards(api: Any, repo: str, files: Mapping[str, Path], advance: Callable[[], None]) -> None:
    from huggingface_hub import CommitOperationAdd

    added = [CommitOperationAdd(name, file) for name, file in files.items()]
    for each in added:
        # The hub keeps files that were uploaded for a commit that failed, and they are not uploaded again.
        api.preupload_lfs_files(repo, [each], repo_type="dataset")
        advance()
    names = list(files)
    message = f"Add {names[0]}" + (f" to {names[-1]}" if len(names) > 1 else "")
    api.create_commit(repo, added, commit_message=message, repo_type="dataset")


def _commit_rest(api: Any, repo: str, files: Mapping[str, bytes], gone: list[str]) -> int:
    """Commit the card with its charts and delete old files, in one commit. Returns the number of commits, 0 or 1."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    changes: list[Any] = [CommitOperationAdd(name, data) for name, data in files.items()]
    changes += [CommitOperationDelete(name) for name in gone]
    if changes:
        api.create_commit(repo, changes, commit_message="Add the card", repo_type="dataset")
    return int(bool(changes))


def _text(file: Path, repo: str) -> bytes:
    data = file.read_bytes()
    return data.replace(REPO.encode(), repo.encode()) if file.name == "README.md" else data


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _blob_id(data: bytes) -> str:
    """Git's name for a file of these bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextlib.contextmanager
def _faults_in_words(repo: str) -> Iterator[None]:
    from httpx2 import HTTPError
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    try:
        yield
    except LocalTokenNotFoundError:
        raise ProviderError("the hub does not know who you are", where=repo, then="hf auth login") from None
    except HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            then = "hf auth login, with a token that may write there"
            raise ProviderError("the hub does not let you write there", where=repo, then=then) from None
        raise ProviderError(f"the hub refused: {error}", where=repo, then=_AGAIN) from error
    except (HTTPError, OSError) as error:
        raise ProviderError(f"the hub cannot be reached: {error}", where=repo, then=_AGAIN) from error


_AGAIN = "type the same command: shards that are there are not uploaded again"
