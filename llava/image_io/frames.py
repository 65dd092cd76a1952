"""Pictures of several frames, and TIFFs, as the process that draws pages sees them."""

import contextlib
import os
from typing import Any, BinaryIO

from llava.image_io.pictures import find_frames, read_frame

_NAME = "it"  # the parent knows the file's name


class FramesFile:
    """One open picture file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._frames = find_frames(file, _NAME)

    def facts(self) -> dict[str, Any]:
        """How many frames there are, and whether some behind them are damaged.

        Asked without limits, which would count what numpy takes for itself.
        """
        if self._frames.numbers:
            import llava.image_io.gray  # noqa: F401
        return {"count": len(self._frames.places), "damaged": self._frames.damaged}

    def draw(self, number: int) -> tuple[dict[str, Any], Any]:
        """Frame ``number``, counted from 1, and what its decoder said meanwhile."""
        begin = _said()
        image = read_frame(self._file, _NAME, self._frames.places[number - 1])
        said = _said(begin)
        return {"size": image.size, "said": said}, image.tobytes()


def _said(begin: int | None = None) -> Any:
    """How much libraries have written to standard error so far; or its first line since ``begin``."""
    with contextlib.suppress(OSError):
        size = os.fstat(2).st_size
        if begin is None:
            return size
        if size > begin:
            return os.pread(2, 400, begin).decode("utf-8", "replace").splitlines()[0]
    return 0 if begin is None else ""
