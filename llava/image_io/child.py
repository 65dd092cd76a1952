"""What runs in the process that draws pages: it answers one request after the other until its parent is gone.

``drawing`` starts this file as a script, with the parent's module path, and talks to it through a socket on its
standard input. A request is a JSON object behind its length, with an open file if it begins a document; an answer is
the same, followed by its pixels. Only what a kind of file needs is imported, because every process starts with that.
"""

import contextlib
import json
import math
import os
import signal
import socket
import sys
from typing import Any, BinaryIO

HEADER = 8
"""Bytes of a message's length, big-endian."""
_CHATTER_BYTES = 2**16
"""Of libraries' own messages that are kept."""


class Child:
    """The document that is open, and the socket through which it is asked about."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.opener: Any = None
        self.document: Any = None
        self.seconds = self.megabytes = 0.0

    def serve(self) -> None:
        """Answer until the parent closes its end."""
        from llava.image_io.refusal import Refusal

        while (received := self._receive()) is not None:
            request, file = received
            pixels: Any = b""
            try:
                answer, pixels = self._act(request, file)
            except MemoryError:
                answer = {"stopped": "memory"}
            except Refusal as error:
                answer = {"refused": (error.fault, error.mend)}
            except Exception as error:  # this process has nobody else to tell
                answer = {"failed": f"{type(error).__name__}: {error}"}
            body = json.dumps({**answer, "bytes": len(pixels)}).encode()
            self.channel.sendall(len(body).to_bytes(HEADER, "big") + body)
            self.channel.sendall(pixels)

    def _receive(self) -> tuple[dict[str, Any], BinaryIO | None] | None:
        head, descriptors, _, _ = socket.recv_fds(self.channel, HEADER, 1)
        while head and len(head) < HEADER:
            head += self.channel.recv(HEADER - len(head))
        body = b""
        while len(body) < int.from_bytes(head, "big"):
            body += self.channel.recv(int.from_bytes(head, "big") - len(body))
        if not head:
            return None
        return json.loads(body), os.fdopen(descriptors[0], "rb") if descriptors else None

    def _act(self, request: dict[str, Any], file: BinaryIO | None) -> tuple[dict[str, Any], Any]:
        action = request.pop("do")
        if action == "start":
            self.seconds, self.megabytes = request["seconds"], request["megabytes"]
            if request["kind"] == "pdf":
                from llava.image_io.pdf import PdfFile as opener
            else:
                from llava.image_io.frames import FramesFile as opener  # type: ignore[assignment]
            self.opener = opener
            return {}, b""
        self._bound()
        if action == "open":
            self.document = self.opener(file)
            self._bound(free=True)
            return self.document.facts(), b""
        result: tuple[dict[str, Any], Any] = getattr(self.document, action)(**request)
        return result

    def _bound(self, *, free: bool = False) -> None:
        """Limits, or none on memory, for what comes next.

        The parent's clock is the limit on time; the one that is set here is for when the parent has died.
        """
        with contextlib.suppress(ImportError, OSError, ValueError):
            import resource

            used = resource.getrusage(resource.RUSAGE_SELF)
            seconds = math.ceil(used.ru_utime + used.ru_stime + self.seconds) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))
            held = _address_space()
            if held:
                most = resource.RLIM_INFINITY if free else held + int(self.megabytes * 2**20)
                resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def _address_space() -> int:
    """Bytes of memory that this process has mapped; 0 where the system does not say."""
    try:
        with open("/proc/self/statm") as file:  # noqa: PTH123 (pathlib takes longer to import than all else here)
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _catch_chatter() -> None:
    """What C libraries write to standard error goes to a file in memory, where it can be looked up."""
    if hasattr(os, "memfd_create"):
        os.dup2(os.memfd_create("messages"), 2)
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (_CHATTER_BYTES, _CHATTER_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """Run as the script that ``drawing`` starts."""
    sys.path[:] = json.loads(sys.argv[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    channel = socket.socket(fileno=os.dup(0))
    _catch_chatter()
    Child(channel).serve()


if __name__ == "__main__":
    main()
