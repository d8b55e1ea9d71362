"""A small local server that speaks as much of the hub's API as quantlib uses, and can misbehave."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """Repositories as folders by name. ranges: whether it serves parts of files; failing: answers to give first."""

    repositories: dict[str, Path] = field(default_factory=dict)
    ranges: bool = True
    failing: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # (status, headers)
    gated: set[str] = field(default_factory=set)
    sent: dict[str, int] = field(default_factory=dict)  # bytes by file name
    listed: dict[str, int] = field(default_factory=dict)  # sizes that it lies about
    authorizations: list[str] = field(default_factory=list)  # what each request said of who asks
    folder: Path | None = None  # where repositories that clients make lie; None: it makes none
    writer: str = ""  # the token that may write
    commits: list[str] = field(default_factory=list)  # their messages
    large: dict[str, bytes] = field(default_factory=dict)  # what was uploaded, by its hash
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(body=True)

    def do_HEAD(self):
        self.answer(body=False)

    def do_PUT(self):
        """What a batch of uploads asked for."""
        hub: Hub = self.server.hub
        data = self.content()
        digest = hashlib.sha256(data).hexdigest()
        if self.path != f"/upload/{digest}":
            return self.refuse(400, {})
        hub.large[digest] = data
        self.send(200, {}, b"", True)

    def do_POST(self):
        """Making a repository, and committing to it; who asks must have the token that may write."""
        hub: Hub = self.server.hub
        data = self.content()
        hub.authorizations.append(self.headers.get("Authorization", ""))
        if hub.failing:
            return self.refuse(*hub.failing.pop(0))
        if self.headers.get("Authorization") != f"Bearer {hub.writer}":
            return self.refuse(401, {})
        if self.path == "/api/validate-yaml":
            return self.send(200, {}, b'{"errors": [], "warnings": []}', True)
        if self.path == "/api/repos/create":
            return self.make_repository(hub, json.loads(data))
        asked = re.fullmatch(
            r"/(?:api/models/)?([^/]+/[^/.]+)(?:\.git/info/lfs/objects/|/)(\w+)(?:/main)?(?:\?.*)?", self.path
        )
        if not asked or asked[1] not in hub.repositories:
            return self.refuse(404, {"X-Error-Code": "RepoNotFound"})
        answer = {"preupload": self.preupload, "batch": self.batch, "commit": self.commit}[asked[2]](
            hub, asked[1], data
        )
        self.send(200, {"Content-Type": "application/json"}, json.dumps(answer).encode(), True)

    def content(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def make_repository(self, hub: Hub, wanted: dict) -> None:
        name = "/".join(part for part in (wanted.get("organization"), wanted["name"]) if part)
        answer = json.dumps({"url": f"{hub.url}/{name}"}).encode()
        if name in hub.repositories:
            return self.send(409, {}, answer, True)
        if hub.folder is None:
            return self.refuse(403, {})
        hub.repositories[name] = hub.folder / name
        hub.repositories[name].mkdir(parents=True)
        self.send(200, {}, answer, True)

    def preupload(self, hub: Hub, name: str, data: bytes) -> dict:
        """Files with more than a few kB go to the store of large ones."""
        files = json.loads(data)["files"]
        modes = ((file["path"], "lfs" if file["size"] > 4096 else "regular") for file in files)
        return {"files": [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes]}

    def batch(self, hub: Hub, name: str, data: bytes) -> dict:
        def one(wanted: dict) -> dict:
            return {
                "oid": wanted["oid"],
                "size": wanted["size"],
                "actions": {"upload": {"href": f"{hub.url}/upload/{wanted['oid']}"}},
            }

        return {"transfer": "basic", "objects": [one(wanted) for wanted in json.loads(data)["objects"]]}

    def commit(self, hub: Hub, name: str, data: bytes) -> dict:
        for line in data.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                hub.commits.append(value["summary"])
                continue
            content = hub.large[value["oid"]] if entry["key"] == "lfsFile" else base64.b64decode(value["content"])
            path = hub.repositories[name] / value["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return {"commitUrl": f"{hub.url}/{name}/commit/{COMMIT}", "commitOid": COMMIT, "success": True}

    def answer(self, body: bool) -> None:
        hub: Hub = self.server.hub
        hub.authorizations.append(self.headers.get("Authorization", ""))
        if hub.failing:
            status, headers = hub.failing.pop(0)
            return self.refuse(status, headers)
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+?)(?:/revision/([^/?]+))?(?:\?.*)?", self.path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/([^?]+)", self.path)
        name = (api or file).group(1) if api or file else None
        if name in hub.gated:
            return self.refuse(403, {"X-Error-Code": "GatedRepo"})
        if name not in hub.repositories:
            return self.refuse(404, {"X-Error-Code": "RepoNotFound"})
        if (api or file).group(2) not in (None, "main", COMMIT):
            return self.refuse(404, {"X-Error-Code": "RevisionNotFound"})
        folder = hub.repositories[name]
        if api:
            return self.send(200, {}, json.dumps(self.listing(hub, name, folder)).encode(), body)
        path = folder / file.group(3)
        if not path.is_file():
            return self.refuse(404, {"X-Error-Code": "EntryNotFound"})
        return self.send_file(hub, path, body)

    def listing(self, hub: Hub, name: str, folder: Path) -> dict:
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        sizes = {p.relative_to(folder).as_posix(): p.stat().st_size for p in files} | hub.listed
        siblings = [{"rfilename": file, "size": size, "blobId": "0" * 40} for file, size in sizes.items()]
        return {"id": name, "sha": COMMIT, "siblings": siblings, "tags": [], "private": False, "downloads": 0}

    def send_file(self, hub: Hub, path: Path, body: bool) -> None:
        data = path.read_bytes()
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        status, part = 200, data
        if asked and hub.ranges:
            start, stop = int(asked[1]), int(asked[2] or len(data) - 1) + 1
            status, part = 206, data[start:stop]
            headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(data)}"
        if body:
            hub.sent[path.name] = hub.sent.get(path.name, 0) + len(part)
        self.send(status, headers, part, body)

    def refuse(self, status: int, headers: dict[str, str]) -> None:
        self.send(status, headers, b"{}", self.command != "HEAD")

    def send(self, status: int, headers: dict[str, str], data: bytes, body: bool) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            try:
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):  # the client had enough
                self.close_connection = True

    def log_message(self, *_):
        pass


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.hub = hub
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
