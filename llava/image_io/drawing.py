"""The process that draws pages, from its parent's side: started when a file is opened, and ended with it.

PDFium and libtiff can be led by a small file to work without end, to fill the memory, or to crash, and no thread can be
stopped. A process can. It knows nothing of torch, so that it starts in a moment, and each open file has its own, so
that a slow page holds nobody up.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

from llava.image_io.child import HEADER
from llava.image_io.limits import PageLimits
from llava.image_io.refusal import Refusal

_START_SECONDS = 60.0
"""For the process itself to start, on a busy machine; the limits are for what files make it do."""
_OUT_OF_MEMORY = ("SIGABRT", "SIGKILL", "SIGTRAP", "SIGILL")
"""How PDFium ends when it is given no more memory, and how the system ends a process that has too much."""
_MENDS = {
    "time": "raise --page-seconds (PageLimits.seconds)",
    "memory": "raise --page-megabytes (PageLimits.megabytes)",
}


class Drawing:
    """One file, open in a process of its own; for a ``with`` block.

    After a request that was too much, the next one starts another process.

    Args:
        kind: ``pdf`` or ``frames``.
    """

    def __init__(self, file: BinaryIO, name: str, kind: str, limits: PageLimits) -> None:
        self._file, self._name, self._kind, self._limits = file, name, kind, limits
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def __enter__(self) -> Drawing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process and wait for its end."""
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._channel = self._process = None

    def open(self) -> dict[str, Any]:
        """What the file is: ``count`` of its pages, and whether some behind them are ``damaged``.

        Raises:
            ValueError: if it cannot be opened within the limits.
        """
        self.close()
        ours, theirs = socket.socketpair()
        with theirs:
            script = str(Path(__file__).with_name("child.py"))
            self._channel = ours
            # Of the parent's settings only the module path is passed on; the terminal's Ctrl-C goes to the parent.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", script, json.dumps(sys.path)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                process_group=0,
            )
        limits = {"seconds": self._limits.seconds, "megabytes": self._limits.megabytes}
        self._ask("starting", _START_SECONDS, {"do": "start", "kind": self._kind, **limits})
        return self._ask("opening it", self._limits.seconds, {"do": "open"}, self._file)[0]

    def ask(self, what: str, action: str, **values: Any) -> tuple[dict[str, Any], bytearray]:
        """The answer to one request, and the pixels that belong to it; ``what`` is what errors say was being done.

        Raises:
            ValueError: if the file cannot be drawn, or not within the limits.
        """
        if self._process is None:
            self.open()
        return self._ask(what, self._limits.seconds, {"do": action, **values})

    def _ask(
        self, what: str, seconds: float, request: dict[str, Any], file: BinaryIO | None = None
    ) -> tuple[dict[str, Any], bytearray]:
        assert self._channel is not None
        end = time.monotonic() + seconds
        body = json.dumps(request).encode()
        message = len(body).to_bytes(HEADER, "big") + body
        try:
            if file is None:
                self._channel.sendall(message)
            else:
                with _on_disk(file) as stored:
                    socket.send_fds(self._channel, [message], [stored.fileno()])
            answer = json.loads(self._receive(int.from_bytes(self._receive(HEADER, end), "big"), end))
            pixels = self._receive(answer["bytes"], end)
        except TimeoutError as error:
            self.close()
            raise self._too_much(what, "time") from error
        except (EOFError, ConnectionError) as error:
            ended = self._end()
            if ended in _OUT_OF_MEMORY:
                raise self._too_much(what, "memory") from error
            raise Refusal(self._name, f"{what} crashes the process that does it ({ended})", self._anew) from error
        except BaseException:
            self.close()  # what is still to come belongs to nobody
            raise
        if answer.get("stopped"):
            self.close()
            raise self._too_much(what, answer["stopped"])
        if "refused" in answer:
            raise Refusal(self._name, *answer["refused"])
        if "failed" in answer:
            raise RuntimeError(f"{what} of {self._name} failed: {answer['failed']}")
        return answer, pixels

    def _receive(self, count: int, end: float) -> bytearray:
        assert self._channel is not None
        data = bytearray(count)
        view = memoryview(data)
        while view:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._channel.settimeout(left)
            got = self._channel.recv_into(view)
            if not got:
                raise EOFError
            view = view[got:]
        self._channel.settimeout(None)
        return data

    def _end(self) -> str:
        """How the process ended, which it has, or is about to."""
        assert self._process is not None
        try:
            code = self._process.wait(timeout=_START_SECONDS)
        finally:
            self.close()
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    @property
    def _anew(self) -> str:
        return "print it to a new PDF" if self._kind == "pdf" else "save it anew as PNG"

    def _too_much(self, what: str, kind: str) -> Refusal:
        limit = self._limits.words[kind]
        return Refusal(self._name, f"{what} takes more than {limit}", f"{_MENDS[kind]}, or {self._anew}")


def _on_disk(file: BinaryIO) -> BinaryIO:
    """A file that another process can be given: another handle of this one, or a copy of what is only in memory."""
    try:
        return open(file.fileno(), "rb", closefd=False)
    except OSError:
        copy = TemporaryFile()  # noqa: SIM115 (its caller closes it)
        file.seek(0)
        copy.write(file.read())
        copy.flush()
        return copy
