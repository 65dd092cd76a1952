"""Tiles: into how many square views a page is cut, so that its print is as large for the model as the page has it.

On the host alone, without torch. Sizes are (width, height) in pixels, as in PIL; tilings are (rows, columns) of views,
and grids (rows, columns) of patches.
"""

import math
import re
from dataclasses import dataclass
from fractions import Fraction

Grid = tuple[int, int]
"""(rows, columns)"""
Size = tuple[int, int]
ONE_TILE: Grid = (1, 1)
MOST_ALONG = 16
"""Tiles along one side; more is a slip of the pen, and a page of 300,000 patches."""
_ROUNDING = Fraction(101, 100)
"""Rendered pages have whole pixels, so sides up to a hundredth short still fill their tiles."""
_NEARLY = Fraction(99, 100)
"""Share of the most pixels that is as good: no view is added for less."""
_WARP = Fraction(8, 5)
"""Most that tiles may change the shape of print, unless a single tile changes it more."""


def parse_tiles(tiles: object) -> Grid | None:
    """The (rows, columns) of views that a setting asks for: ``1``, ``3x2``; None for ``auto``.

    Raises:
        ValueError: if it is neither.
    """
    if tiles == "auto":
        return None
    found = re.fullmatch(r"(\d{1,2})x(\d{1,2})", "1x1" if str(tiles) == "1" else str(tiles))
    rows, columns = (int(found[1]), int(found[2])) if found and not isinstance(tiles, bool) else (0, 0)
    if not (1 <= rows <= MOST_ALONG and 1 <= columns <= MOST_ALONG):
        raise ValueError(
            f"tiles must be 1, auto, or rows x columns such as 3x2, each from 1 to {MOST_ALONG}, got {tiles!r}"
        )
    return rows, columns


def name_tiles(tiling: Grid | None) -> int | str:
    """The setting that ``parse_tiles`` reads as these tiles."""
    if tiling is None:
        return "auto"
    return 1 if tiling == ONE_TILE else "{}x{}".format(*tiling)


@dataclass(frozen=True, kw_only=True)
class PageViews:
    """Which square views a patched model wants of every image, instead of LaViDa's."""

    side: int
    """Of a view, in pixels."""
    pad: bool
    """Keep the image's shape on a mean-colored ground; otherwise stretch it over its tiles."""
    tiles: Grid | None = ONE_TILE
    """None: as many as the image's own pixels fill."""
    max_tiles: int = 6
    """Where the image decides."""

    def tiling(self, size: Size) -> Grid:
        """(rows, columns) of views for an image."""
        if self.tiles is not None:
            return self.tiles
        return choose_tiling(size, side=self.side, max_tiles=self.max_tiles, pad=self.pad)

    def long_side(self, shape: tuple[int | float, int | float]) -> int:
        """Pixels of the longer side at which a page of this (width, height), in any unit, fills its tiles.

        Both sides then have at least the tiles' pixels, so that nothing is enlarged; where the image decides, it gets
        as many tiles as it may.
        """
        width, height = shape
        scale = self.side * MOST_ALONG * self.max_tiles / min(shape)
        rows, columns = self.tiling((math.ceil(width * scale), math.ceil(height * scale)))
        return math.ceil(max(shape) * max(columns * self.side / width, rows * self.side / height))


def choose_tiling(size: Size, *, side: int, max_tiles: int, pad: bool) -> Grid:
    """(rows, columns) of the views that keep most of an image's own pixels without enlarging it.

    Offered is every tiling of at most ``max_tiles`` views that has no more pixels than the image (sides may be a
    hundredth short), and always a single view. Of these the one that keeps most pixels wins: stretched, a side keeps as
    many as it has and as its tiles have; padded, the image is scaled down to fit, keeping its shape. Of those that keep
    99 % of as many, it is the one with the fewest tiles, then with most pixels, then with more columns, for print runs
    across. Stretching must not make print more than 8/5 times as wide or as high for its shape as it is, unless a
    single view does so too.

    After LaViDa's choice of views (most usable pixels, then least waste), with the number of views open.
    """
    width, height = size
    offered = [
        (rows, columns)
        for rows in range(1, max_tiles + 1)
        for columns in range(1, max_tiles // rows + 1)
        if (rows, columns) == ONE_TILE
        or (rows * columns * side**2 <= width * height * _ROUNDING**2 and (pad or not _warps(size, (rows, columns))))
    ]

    def kept(tiling: Grid) -> Fraction:
        rows, columns = tiling
        if not pad:
            return Fraction(min(rows * side, height) * min(columns * side, width))
        return min(Fraction(rows * side, height), Fraction(columns * side, width), Fraction(1)) ** 2 * width * height

    most = max(map(kept, offered))
    near = [tiling for tiling in offered if kept(tiling) >= _NEARLY * most]
    return min(near, key=lambda tiling: (math.prod(tiling), -kept(tiling), -tiling[1]))


def _warps(size: Size, tiling: Grid) -> bool:
    """Whether an image stretched over these tiles has print of too different a shape."""
    (width, height), (rows, columns) = size, tiling
    down, across = Fraction(rows, height), Fraction(columns, width)
    single = Fraction(max(size), min(size))
    return max(down, across) / min(down, across) > max(_WARP, single)
