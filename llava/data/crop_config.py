"""Which crops of print to train on."""

from dataclasses import dataclass

from llava.pages.faces import SHIPPED, SYSTEM
from shirg.settings import Settings


@dataclass(frozen=True, kw_only=True)
class CropsConfig(Settings):
    """Which crops a run learns from.

    Raises:
        ValueError: if a number is out of range.
    """

    crops: int
    """How many in all."""
    cells: int = 12
    """Patches along a side."""
    ramp: float = 0.25
    """Share of the run over which everything opens up, from common type near one size to all that crops vary."""
    fonts: tuple[str, ...] = (str(SHIPPED), str(SYSTEM))
    """Folders with faces of type; families held out are left out."""
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "fonts", tuple(self.fonts))
        for name, least in (("crops", 1), ("cells", 2), ("seed", 0)):
            self.check_count(name, least)
        self.check_number("ramp")
        if self.ramp > 1:
            raise ValueError(f"ramp is a share of the run, from 0 to 1, got {self.ramp!r}")
