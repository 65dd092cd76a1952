"""Pages in requests: data URLs to bytes, and bytes to pictures, within limits and never from this machine's disk."""

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

from llava.image_io import LongSide, PageLimits, Picture, pages_of, read_page, stored_size
from llava.server.errors import RequestError


@dataclass(frozen=True, kw_only=True, eq=False)
class PageFile:
    """A file as it was sent, and which of its pages is meant."""

    data: bytes
    name: str
    """What errors call it; nothing of the client's choosing."""
    page: int | None = None

    @property
    def key(self) -> tuple[str, int | None]:
        """Equal for the same page of the same file, whoever sends it."""
        return hashlib.sha256(self.data).hexdigest(), self.page

    def draw(self, *, long_side: LongSide, limits: PageLimits) -> Picture:
        """The picture; PDFs and TIFFs are drawn by a process of their own.

        Raises:
            ValueError: as ``read_page``.
        """
        return read_page(BytesIO(self.data), self.name, self.page, long_side=long_side, limits=limits)

    def pixels(self) -> int:
        """Pixels as its header states them; 0 of a PDF, which is drawn at the size that is needed.

        Raises:
            ValueError: if it is no picture.
        """
        size = stored_size(BytesIO(self.data), self.name)
        return 0 if size is None else size[0] * size[1]

    def count(self, limits: PageLimits) -> int:
        """How many pages it has.

        Raises:
            ValueError: as ``pages_of``.
        """
        with pages_of(BytesIO(self.data), self.name, limits=limits) as pages:
            return pages.count


Fetch = Callable[[str, str], bytes]
"""The bytes behind an address, and what errors call it."""


def read_url(url: str, name: str, page: int | None, fetch: Fetch | None) -> PageFile:
    """The file of a data URL, or of an address where ``fetch`` is given.

    Raises:
        RequestError: if it is neither, or not whole.
    """
    scheme = url[:8].lower()
    if scheme.startswith("data:"):
        data = _decode(url, name)
    elif scheme.startswith(("http://", "https://")):
        if fetch is None:
            raise RequestError(
                f"{name} is an address, and this server fetches nothing; send the file itself as a data URL",
                code="remote_pages_off",
                param="messages",
            )
        data = fetch(url, name)
    else:
        raise RequestError(
            f"{name} is neither a data URL nor an address; send data:image/png;base64,... with the file in it",
            code="invalid_image_url",
            param="messages",
        )
    if not data:
        raise RequestError(f"{name} is empty; send the encoded file whole", code="invalid_image", param="messages")
    return PageFile(data=data, name=name, page=page)


def _decode(url: str, name: str) -> bytes:
    head, comma, payload = url.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise RequestError(
            f"{name} is a data URL without base64; send data:image/png;base64,... with the file in it",
            code="invalid_image_url",
            param="messages",
        )
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(
            f"the base64 of {name} is damaged; send the encoded file whole and unaltered",
            code="invalid_base64_image",
            param="messages",
        ) from error
