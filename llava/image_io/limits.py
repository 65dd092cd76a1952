"""How much time and memory the drawing of one page may take."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PageLimits:
    """Limits of the process that draws pages, each for one page or for opening a file.

    Raises:
        ValueError: if a limit is not above zero.
    """

    seconds: float = 20.0
    """Time as a clock shows it."""
    megabytes: float = 1024.0
    """MiB of memory beyond what the process holds when the page is begun. Systems without ``RLIMIT_AS`` (macOS,
    Windows) have the limit on time only."""

    def __post_init__(self) -> None:
        for name, value, unit in (("seconds", self.seconds, "seconds"), ("megabytes", self.megabytes, "MiB")):
            if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
                raise ValueError(f"{name} of a page must be a number of {unit} above 0, got {value!r}")

    @property
    def words(self) -> dict[str, str]:
        """Each limit as people read it."""
        return {"time": f"{self.seconds:g} s", "memory": f"{self.megabytes:,g} MiB"}


DEFAULT_LIMITS = PageLimits()
