"""SHIRG-X: which visual tokens a vision-language model keeps, and what it is told about their place.

Pure tensor functions and small modules that know nothing of the model around them. In the order of the data:
``tiling`` and ``joining`` (the views of a page), ``scaffold`` and ``coordinates`` (the two scales and their boxes),
``similarity`` and ``scoring`` (how good a patch looks), ``ink`` (what shows more than paper), ``merging`` (what a token
contains), ``shirg_selector`` (which tokens survive), ``budget`` and ``question_budget`` (how many), ``tokens`` (what
comes out), ``survival`` (what they still say of the page); ``visualize`` and ``profiling`` show what happened.

Axis names used in this package (jaxtyping checks them at test time):
    batch    images in the batch              patches  fine grid, in raster order, padded at the end
    cells    scaffold grid, in raster order   tokens   detail tokens that survive, padded at the end
    dim      vision feature width             words    words of the question, padded anywhere
    options  budgets on offer
Boxes are (x, y, h, w): centroid and extent, each in [0, 1] of the original image. Scores are float32 throughout.
"""

from typing import TYPE_CHECKING

from shirg.lazy import lazy_names

if TYPE_CHECKING:
    from shirg.config import ShirgXConfig
    from shirg.shirg_selector import Selection, select
    from shirg.tokens import DualScaleTokens, TokenSet

__all__ = ["DualScaleTokens", "Selection", "ShirgXConfig", "TokenSet", "select"]

_SELECTOR, _TOKENS = "shirg.shirg_selector", "shirg.tokens"
__getattr__ = lazy_names(
    __name__,
    {
        "ShirgXConfig": "shirg.config",
        "Selection": _SELECTOR,
        "select": _SELECTOR,
        "DualScaleTokens": _TOKENS,
        "TokenSet": _TOKENS,
    },
)
