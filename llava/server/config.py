"""Settings of the server: where it listens, who may ask, and how much of everything one may want."""

import ipaddress
import math
from dataclasses import dataclass, fields

from llava.image_io import DEFAULT_LIMITS, PageLimits

MIN_KEY_LENGTH = 16


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """Everything is bounded, and nobody but this machine is listened to, unless it says otherwise.

    Raises:
        ValueError: if a number is out of range, a key is too short, or another address is to be listened on without
            keys.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    """0 takes one that is free."""
    api_keys: tuple[str, ...] = ()
    """Any of them opens the door; none are needed on loopback."""
    model_name: str = "lavida"
    """What clients call the model."""
    body_megabytes: float = 20.0
    """MiB of one request, its pages in base64 among them."""
    images: int = 8
    """Pages of one request."""
    megapixels: float = 40.0
    """Of all pages of a request together, as they are stored."""
    characters: int = 20_000
    """Of all texts of a request together."""
    answer_tokens: int = 512
    """The longest answer."""
    page_limits: PageLimits = DEFAULT_LIMITS
    """Of the process that draws PDFs and TIFFs."""
    allowed_hosts: frozenset[str] = frozenset()
    """Names (``pages.example.org``, ``pages.example.org:8443``) from which pages are fetched; none by default."""
    remote_seconds: float = 10.0
    """For fetching one page."""
    queue: int = 64
    """Requests that are waiting or being answered; further ones are told to come back."""
    batch: int = 32
    """Requests that are denoised together, at most."""
    cache_megabytes: float = 512.0
    """MiB of encoded pages that are kept for further questions."""
    deadline_seconds: float = 120.0
    """After which a request is given up."""
    shutdown_seconds: float = 120.0
    """In which running requests may finish once the server is told to stop."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type in (int, float) and not (
                isinstance(value, int | float) and math.isfinite(value) and (value > 0 or field.name == "port")
            ):
                raise ValueError(f"{field.name} must be a number above 0, got {value!r}")
        if not 0 <= self.port < 65_536:
            raise ValueError(f"port must lie between 0 and 65535, got {self.port}")
        for key in self.api_keys:
            if len(key) < MIN_KEY_LENGTH or not key.isascii() or not key.isprintable() or " " in key:
                raise ValueError(
                    f"a key must have at least {MIN_KEY_LENGTH} printable ASCII characters without spaces, one a line; "
                    "make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
                )
        if not self.is_local and not self.api_keys:
            raise ValueError(
                f"whoever reaches {self.host} could use this server; give --api-key-file, or listen on 127.0.0.1"
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def body_bytes(self) -> int:
        return int(self.body_megabytes * 2**20)


def read_keys(text: str) -> tuple[str, ...]:
    """The keys of a file: one a line; empty lines and those that begin with # are left out.

    Raises:
        ValueError: if there is none.
    """
    lines = (line.strip() for line in text.splitlines())
    keys = tuple(line for line in lines if line and not line.startswith("#"))
    if not keys:
        raise ValueError("it holds no key; write one on each line")
    return keys
