"""What is asked of the engine, and the way back to whoever waits for it."""

import asyncio
import time
from collections.abc import AsyncIterator, Hashable
from dataclasses import dataclass
from typing import Literal

from llava.image_io import Picture
from llava.inference.dialog import Reply
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.server.errors import RequestError, too_late
from llava.server.files import PageFile

Way = Literal["model", "stock"]
"""The model as it was loaded, or LaViDa's own encoding beside it."""


@dataclass(frozen=True, kw_only=True)
class AskedTurn:
    """A turn whose pages are still files."""

    role: Literal["user", "assistant"]
    parts: tuple[str | PageFile, ...]

    @property
    def words(self) -> str:
        return "\n".join(part.strip() for part in self.parts if isinstance(part, str) and part.strip())

    @property
    def files(self) -> tuple[PageFile, ...]:
        return tuple(part for part in self.parts if isinstance(part, PageFile))


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A conversation to be continued, and how."""

    turns: tuple[AskedTurn, ...]
    decoding: DecodingConfig
    system: str | None = None
    seed: int = 0
    way: Way = "model"
    streams: bool = False
    """Whether drafts are wanted."""

    @property
    def files(self) -> tuple[PageFile, ...]:
        return tuple(file for turn in self.turns for file in turn.files)

    @property
    def batch_key(self) -> Hashable:
        """Equal for what can be denoised together; None for what draws at random, which must not depend on others."""
        return None if self.decoding.random else (self.way, repr(self.decoding))


@dataclass(frozen=True, kw_only=True)
class Draft:
    """Where an answer stands after a forward."""

    tokens: tuple[int, ...]
    """Ids, masks among them."""
    step: int


class Job:
    """A request on its way through the engine; made on the event loop that waits for it.

    The engine's thread tells it what happens, the loop may give it up.

    Args:
        pictures: the pages that were drawn already, by their keys.
        born: when the request came, as ``time.monotonic`` tells.
        deadline: seconds from then.
    """

    def __init__(self, asked: Asked, pictures: dict[Hashable, Picture], *, born: float, deadline: float) -> None:
        self.asked, self.pictures = asked, pictures
        self.born, self._seconds, self._end = born, deadline, born + deadline
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Draft | Reply | RequestError] = asyncio.Queue()
        self._given_up = False

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self._given_up or time.monotonic() > self._end

    def give_up(self) -> None:
        """Let the engine leave it where it is."""
        self._given_up = True

    def tell(self, event: Draft | Reply | RequestError) -> None:
        """From the engine's thread: what happened. A loop that is closed has nobody to tell."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def events(self) -> AsyncIterator[Draft | Reply]:
        """Drafts, and in the end the reply; whoever stops listening gives the request up.

        Raises:
            RequestError: for what the engine refuses, or when the deadline has passed.
        """
        try:
            while True:
                try:
                    async with asyncio.timeout(max(0.0, self._end - time.monotonic())):
                        event = await self._events.get()
                except TimeoutError:
                    raise too_late(self._seconds) from None
                if isinstance(event, RequestError):
                    raise event
                yield event
                if isinstance(event, Reply):
                    return
        finally:
            self.give_up()

    async def reply(self) -> Reply:
        """The reply without its drafts.

        Raises:
            RequestError: as ``events``.
        """
        events = self.events()
        try:
            async for event in events:
                if isinstance(event, Reply):
                    return event
        finally:
            await events.aclose()  # type: ignore[attr-defined]
        raise AssertionError("an engine's last word is a reply or an error")
