"""A hub on loopback with as much of the hub's HTTP API as ``push_to_hub`` and loading by a repository's id use.

Repositories live in memory. Files travel inside their commits, which the real hub does for small ones.
"""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_the_stand_in"


class Hub:
    """Its repositories, and what was asked of it."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.messages: list[str] = []
        self.asked: list[str] = []
        self.url = ""

    def revision(self, repo: str) -> str:
        """The commit that a repository is at."""
        digest = sha1(repr(sorted(self.files[repo].items())).encode(), usedforsecurity=False)
        return digest.hexdigest()

    def info(self, repo: str) -> dict[str, Any]:
        names = [{"rfilename": name} for name in sorted(self.files[repo])]
        return {
            "id": repo,
            "modelId": repo,
            "sha": self.revision(repo),
            "siblings": names,
            "tags": [],
            "private": False,
        }


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        parts = path.strip("/").split("/")
        if path == "/api/whoami-v2":
            self.answer({"name": "tester", "type": "user", "orgs": []})
        elif parts[:2] == ["api", "models"] and (repo := "/".join(parts[2:4])) in self.hub.files:
            if parts[4:5] == ["tree"]:
                self.answer_tree(repo, "/".join(parts[6:]))
            else:
                self.answer(self.hub.info(repo))
        elif parts[2:3] == ["resolve"] and (repo := "/".join(parts[:2])) in self.hub.files:
            self.answer_file(repo, "/".join(parts[4:]))
        else:
            self.refuse("RepoNotFound")

    def do_POST(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"POST {path}")
        body = self.body()
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.refuse("GatedRepo", status=401)
        elif path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked.get('organization') or 'tester'}/{asked['name']}"
            self.hub.files.setdefault(repo, {})
            self.answer({"url": f"{self.hub.url}/{repo}", "name": repo, "id": repo})
        elif path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": name, "uploadMode": "regular", "shouldIgnore": False, "oid": None} for name in names]
            self.answer({"files": modes})
        elif "/commit/" in path:
            self.commit("/".join(path.strip("/").split("/")[2:4]), body)
        else:
            self.refuse("EntryNotFound")

    def commit(self, repo: str, body: bytes) -> None:
        for line in body.splitlines():
            item = json.loads(line)
            if item["key"] == "header":
                self.hub.messages.append(item["value"]["summary"])
            else:
                assert item["key"] == "file", item["key"]
                self.hub.files[repo][item["value"]["path"]] = base64.b64decode(item["value"]["content"])
        revision = self.hub.revision(repo)
        self.answer({"success": True, "commitOid": revision, "commitUrl": f"{self.hub.url}/{repo}/commit/{revision}"})

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def answer(self, values: Any) -> None:
        self.send(200, json.dumps(values).encode(), {"Content-Type": "application/json"})

    def answer_tree(self, repo: str, folder: str) -> None:
        held = {name: data for name, data in self.hub.files[repo].items() if name.startswith(folder)}
        if held:
            self.answer([{"type": "file", "path": name, "size": len(data), "oid": name} for name, data in held.items()])
        else:
            self.refuse("EntryNotFound")

    def answer_file(self, repo: str, name: str) -> None:
        data = self.hub.files[repo].get(name)
        if data is None:
            self.refuse("EntryNotFound")
        else:
            etag = sha1(data, usedforsecurity=False).hexdigest()
            self.send(200, data, {"ETag": f'"{etag}"', "X-Repo-Commit": self.hub.revision(repo)})

    def refuse(self, code: str, status: int = 404) -> None:
        self.send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})

    def send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@contextmanager
def hub_on_loopback() -> Iterator[Hub]:
    """A hub that serves until the end of the block."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OfThisHub", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
