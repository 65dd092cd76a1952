"""Who is next: clients take turns, and each client's requests stay in their order."""

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """Items of several clients, of which each gets its turn however many the others have. Not safe for threads."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, deque[Item]] = {}

    def __len__(self) -> int:
        return sum(len(items) for items in self._waiting.values())

    def put(self, client: Hashable, item: Item) -> None:
        """Add an item behind the client's others; a new client comes behind all that wait."""
        self._waiting.setdefault(client, deque()).append(item)

    def take(self, most: int, key: Callable[[Item], Hashable]) -> list[Item]:
        """The next item, and up to ``most`` in all whose ``key`` is equal to its; no client has two more than another
        that has as many to give.

        A ``key`` of None goes with no other.
        """
        taken: list[Item] = []
        wanted: Hashable = None
        for client in self._turns(lambda: len(taken) >= most):
            items = self._waiting[client]
            place = 0
            if taken:
                place = next((index for index, item in enumerate(items) if key(item) == wanted), -1)
                if place < 0:
                    continue
            item = items[place]
            del items[place]
            # Whoever has been served goes behind the others.
            del self._waiting[client]
            if items:
                self._waiting[client] = items
            taken.append(item)
            if len(taken) == 1:
                wanted = key(item)
                if wanted is None:
                    break
        return taken

    def _turns(self, enough: Callable[[], bool]) -> Iterator[Hashable]:
        """Clients in their order, round after round, until there is enough or a whole round brought nothing."""
        while self._waiting and not enough():
            before = len(self)
            for client in list(self._waiting):
                if enough():
                    return
                yield client
            if len(self) == before:
                return
