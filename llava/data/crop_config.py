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
    pdfs: tuple[str, ...] = ()
    """PDF files, and folders that hold some: your own documents, if the model is to read their print."""
    pdf_share: float = 0.25
    """Share of crops that are taken from them, if there are any."""
    fonts: tuple[str, ...] = (str(SHIPPED), str(SYSTEM))
    """Folders with faces of type; families held out are left out."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("fonts", "pdfs"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name, least in (("crops", 1), ("cells", 2), ("seed", 0)):
            self.check_count(name, least)
        for name in ("ramp", "pdf_share"):
            self.check_number(name, 0.0, 1.0)
