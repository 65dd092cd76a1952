"""Which drawn pages to train on."""

from dataclasses import dataclass

from llava.pages import FAMILIES, SPLITS, STYLES
from shirg.settings import Settings


@dataclass(frozen=True, kw_only=True)
class PagesConfig(Settings):
    """Which drawn pages, and how many questions of each.

    Raises:
        ValueError: if a name does not exist or a number is not positive.
    """

    families: tuple[str, ...] = tuple(FAMILIES)
    """Taken in turn, page by page."""
    style: str = "full"
    split: str = "train"
    seed: int = 0
    first: int = 0
    """Number of the first page."""
    pages: int = 1_000_000
    """Pages in an epoch."""
    questions: int = 2
    """At most so many questions of each page, chosen by the page's number."""
    stored: str | None = None
    """Folder that holds these pages as a frozen tower has seen them (``scripts.store_pages``); drawn anew without."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "families", tuple(self.families))
        for name, values, known in (
            ("families", self.families, FAMILIES),
            ("style", (self.style,), STYLES),
            ("split", (self.split,), SPLITS),
        ):
            unknown = [value for value in values if value not in known]
            if unknown or not values:
                raise ValueError(f"{name} must be of {', '.join(known)}, got {', '.join(map(str, unknown)) or 'none'}")
        if self.stored is not None:
            self.check_text("stored")
        for name, least in (("seed", 0), ("first", 0), ("pages", 1), ("questions", 1)):
            self.check_count(name, least)
