"""Wild pages: real tables and prose, and charts as matplotlib draws them in its own styles. No training sees any.

They need the package vega_datasets (the ``eval`` extra).
"""

from collections.abc import Mapping

from llava.eval.benchmarks.wild import charts, docs
from llava.pages.stream import FAMILIES, Drawer

WILD: Mapping[str, Drawer] = {"chart_page": charts.draw, "doc_page": docs.draw}
"""What draws the wild pages of a family."""


def drawers_of(split: str) -> Mapping[str, Drawer]:
    """What draws the pages of each family in a split."""
    return WILD if split == "wild" else FAMILIES
