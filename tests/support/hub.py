"""A hub on loopback, as much of one as a data set's way there and back needs: it counts what it is sent."""

import base64
import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.support.forked import SPAVL, Forked

_COMMIT = "1" * 40
# Where a hub is, its library reads when it is loaded.
_ANEW = "import sys; [sys.modules.pop(name) for name in [*sys.modules] if name.partition('.')[0] == 'huggingface_hub']"


class FakeHub:
    """`on_upload` is called when an upload has come in whole, with its number."""

    def __init__(self, on_upload: Callable[[int], None] = lambda number: None) -> None:
        self.files: dict[str, bytes] = {}
        self.objects: dict[str, bytes] = {}
        self.uploads: Counter[str] = Counter()
        self.commits: list[list[str]] = []
        # What was asked for, and how often a file is not given before it is.
        self.downloads: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.on_upload = on_upload
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "FakeHub":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, body: bytes) -> Any:
        if path == "/api/repos/create":
            return {"url": f"{self.url}/datasets/someone/set", "name": "someone/set", "id": "1"}
        if "/revision/" in path or path == "/api/datasets/someone/set":
            siblings = [{"rfilename": name, "size": len(data)} for name, data in self.files.items()]
            return {"id": "someone/set", "sha": _COMMIT, "siblings": siblings}
        if "/tree/" in path:
            return [self._entry(name, data) for name, data in sorted(self.files.items())]
        if "/preupload/" in path:
            names = [each["path"] for each in json.loads(body)["files"]]
            return {"files": [{"path": name, "uploadMode": _mode(name), "shouldIgnore": False} for name in names]}
        if path.endswith("/objects/batch"):
            return {"transfer": "basic", "objects": [self._wanted(each) for each in json.loads(body)["objects"]]}
        if method == "PUT":
            self._take(path.rpartition("/")[2], body)
            return {}
        if path.endswith("/verify") or path == "/api/validate-yaml":
            return {"errors": [], "warnings": []}
        if "/commit/" in path:
            return self._commit([json.loads(line) for line in body.splitlines()])
        raise AssertionError(f"{method} {path}")

    def _take(self, oid: str, data: bytes) -> None:
        assert hashlib.sha256(data).hexdigest() == oid
        self.objects[oid] = data
        self.uploads[oid] += 1
        self.on_upload(self.uploads.total())

    def _wanted(self, each: dict[str, Any]) -> dict[str, Any]:
        if each["oid"] in self.objects:
            return each
        return {**each, "actions": {"upload": {"href": f"{self.url}/lfs/{each['oid']}"}}}

    def _entry(self, name: str, data: bytes) -> dict[str, Any]:
        known = {"type": "file", "path": name, "size": len(data), "oid": _git_hash(data)}
        if _mode(name) == "lfs":
            known["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 100}
        return known

    def _commit(self, lines: list[dict[str, Any]]) -> dict[str, Any]:
        changed = []
        for line in lines[1:]:
            value = line["value"]
            changed.append(value["path"])
            if line["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.files[value["path"]] = self.objects[value["oid"]]
            else:
                del self.files[value["path"]]
        self.commits.append(changed)
        return {"commitUrl": f"{self.url}/datasets/someone/set/commit/1", "commitOid": _COMMIT, "success": True}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                if "/resolve/" in self.path:
                    return self._file()
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if "chunked" in (self.headers.get("Transfer-Encoding") or ""):
                    body = self._chunks()
                made = json.dumps(hub.answer(self.command, self.path.partition("?")[0], body)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(made)))
                self.end_headers()
                self.wfile.write(made)

            def _file(self) -> None:
                name = unquote(self.path.partition("/resolve/")[2].partition("/")[2])
                data = hub.files[name]
                if self.command == "GET" and hub.refusals[name]:
                    hub.refusals[name] -= 1
                    return self.send_error(403)
                hub.downloads[name] += self.command == "GET"
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
                self.send_header("X-Repo-Commit", _COMMIT)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(data)

            def _chunks(self) -> bytes:
                body = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            do_GET = do_HEAD = do_POST = do_PUT = _serve

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _mode(name: str) -> str:
    return "lfs" if re.search(r"\.parquet$", name) else "regular"


def _git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def with_hub(hub: FakeHub, home: Path, *words: str, **more: str) -> Forked:
    """`spavl WORDS...`, for which this hub is the only one."""
    variables = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": hub.url, "HF_HOME": str(home), **more}
    # Without the chunked protocol of the real hub, whose storage is no business of a small fake.
    return Forked(f"{_ANEW}; {SPAVL}", *words, more=variables | {"HF_HUB_DISABLE_XET": "1"})
