"""What a peer is: a method, what it reads, and whether the scaffold goes with it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from shirg.lazy import Lazy

Need = Literal["pixels", "attention", "similarity", "generator"]


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """One way to spend a number of tokens. ``dataclasses.replace`` makes variants, such as one with a scaffold."""

    method: Callable[..., Any]
    """Detail tokens, a ``TokenSet``, from ``(dual, keep=...)`` and what it needs by name; without ``keep`` unless
    ``budgeted``."""
    needs: frozenset[Need] = frozenset()
    """What it reads beyond features and places: the view's pixels, the vision tower's attention, each patch's
    similarity to the question, a generator of random numbers."""
    scaffold: bool = False
    """The scaffold goes in front of the detail tokens, and its tokens count."""
    budgeted: bool = True
    """False for the two reference rows, whose number of tokens is their own whatever the total."""

    def __call__(self, dual: Any, *, total: int, **given: Any) -> Any:
        """The detail tokens of each image, a ``TokenSet``; see ``spending.spend`` for what is given and refused."""
        return _spend(self, dual, total=total, **given)


_spend = Lazy("shirg.baselines.spending", "spend")
