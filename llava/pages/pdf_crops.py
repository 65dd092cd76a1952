"""Crops of PDF pages: print as any software sets it, with every character's place."""

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, exp, log
from pathlib import Path

import numpy as np
from PIL import Image

from llava.pages.chance import between, happens, pick
from llava.pages.crops import CropStyle, draw_scales
from llava.pages.pdf import open_pdf, read_page
from llava.pages.print import Print
from llava.pages.wear import turn, wear_down

_SCALE = 2.5
"""Pixels per point at which pages are kept: 10 point print is 25 pixels high, and crops of it are made smaller."""
_ATTEMPTS = 8


class PdfPages:
    """Pages of some files, drawn one after the other and kept while crops are taken from them.

    Raises:
        ValueError: if there is no file.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = tuple(sorted(files))
        if not self.files:
            raise ValueError("there is no PDF to take crops from; name folders or files that hold some")

    def crop(
        self, seed: int, number: int, side: int, *, style: CropStyle | None = None, ease: float = 0.0
    ) -> tuple[Image.Image, Print]:
        """Crop ``number``, as ``draw_crop`` gives them; neighbors in number are from one page."""
        style = style or CropStyle()
        rng = np.random.default_rng([seed, number])
        for attempt in range(_ATTEMPTS):
            image, printed = _page(self.files, seed, number // _PER_PAGE, attempt)
            if len(printed) >= _LEAST:
                break
        size = float(np.median(printed.size)) if len(printed) else style.first_size
        across, down = draw_scales(rng, style, 1.0)
        wanted = exp(rng.uniform(log(max(style.least_size, 9.0)), log(min(style.most_size, 26.0))))
        wanted = exp(ease * log(style.first_size) + (1 - ease) * log(wanted))
        scale_y = min(1.6, wanted / size)
        scale_x = min(1.6, scale_y * across / down)
        wide, high = ceil(side / scale_x), ceil(side / scale_y)
        x, y = _corner(rng, image, printed, wide, high)
        cut = image.crop((x, y, x + wide, y + high))
        if happens(rng, style.dark):
            cut = Image.eval(cut, lambda level: 255 - level)
        own = printed.within(x, y, x + wide, y + high)
        cut, own = turn(rng, cut, own, style.wear)
        cut = cut.resize((side, side), Image.Resampling.BICUBIC)
        return wear_down(rng, cut, style.wear), own.scaled(side / wide, side / high)


_PER_PAGE = 12
_LEAST = 40


@lru_cache(maxsize=4)
def _page(files: tuple[Path, ...], seed: int, number: int, attempt: int) -> tuple[Image.Image, Print]:
    rng = np.random.default_rng([seed, number, attempt, 7])
    with open_pdf(pick(rng, files)) as document:
        return read_page(document, between(rng, 0, len(document) - 1), scale=_SCALE)


def _corner(rng: np.random.Generator, image: Image.Image, printed: Print, wide: int, high: int) -> tuple[int, int]:
    """Where to cut, so that some print is on the crop."""
    if not len(printed):
        return 0, 0
    middle = printed.middle[between(rng, 0, len(printed) - 1)]
    x = middle[0] - rng.uniform(0.1, 0.9) * wide
    y = middle[1] - rng.uniform(0.1, 0.9) * high
    return int(np.clip(x, 0, max(0, image.width - wide))), int(np.clip(y, 0, max(0, image.height - high)))
