"""A small local server that speaks as much of the hub's API as quantlib uses, and can misbehave."""

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
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(body=True)

    def do_HEAD(self):
        self.answer(body=False)

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
        self.send(status, headers, b"{}", self.command == "GET")

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
