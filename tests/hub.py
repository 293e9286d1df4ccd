"""A server on this machine that speaks as much of the Hub's protocol as `huggingface_hub` needs to download from it."""

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """Repositories by their name, as folders, all at one commit; `cut` ends the next answer with a path early."""

    folders: dict[str, Path] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)  # path -> the bytes to send before the connection breaks
    sent: list[tuple[str, int]] = field(default_factory=list)  # path and first byte of every answer with content
    gated: set[str] = field(default_factory=set)
    failing: bool = False
    url: str = ""

    def paths_sent(self) -> set[str]:
        """The files that were downloaded."""
        return {path for path, _ in self.sent}


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, *, with_content: bool) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        is_api = parts[:2] == ["api", "models"]
        repository, rest = "/".join(parts[2:4] if is_api else parts[:2]), parts[4:] if is_api else parts[3:]
        folder = self.hub.folders.get(repository)
        if self.hub.failing:
            self._refuse(500, "")
        elif folder is None:
            self._refuse(401, "RepoNotFound")
        elif repository in self.hub.gated:
            self._refuse(403, "GatedRepo")
        elif is_api and rest[1:] not in ([], ["main"], [COMMIT]):
            self._refuse(404, "RevisionNotFound")
        elif is_api:
            self._send_json({"id": repository, "sha": COMMIT, "siblings": _siblings(folder)})
        else:
            self._send_file(folder, "/".join(rest[1:]), with_content=with_content)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_json(self, value: object) -> None:
        text = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _send_file(self, folder: Path, path: str, *, with_content: bool) -> None:
        content = (folder / path).read_bytes()
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - first))
        if "Range" in self.headers:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if not with_content:
            return
        self.hub.sent.append((path, first))
        end = first + self.hub.cut.pop(path) if path in self.hub.cut else None
        self.wfile.write(content[first:end])
        if end is not None:
            self.wfile.flush()
            self.close_connection = True


def _siblings(folder: Path) -> list[dict[str, Any]]:
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    return [{"rfilename": file.relative_to(folder).as_posix(), "size": file.stat().st_size} for file in files]


def serve(hub: Hub) -> ThreadingHTTPServer:
    """Start a server of these repositories in a thread; `shutdown` and `server_close` end it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server
