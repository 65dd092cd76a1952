"""Pictures of what was kept for a question."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from PIL import Image

from shirg.config import ShirgXConfig

if TYPE_CHECKING:
    from llava.inference.answer import VisualPrefix


def draw_heatmap(
    image: Image.Image,
    prefix: VisualPrefix,
    config: ShirgXConfig,
    *,
    question: str,
    answer: str | None = None,
    answer_box: tuple[float, float, float, float] | None = None,
) -> Image.Image:
    """The page with its kept and dropped patches, beside their scores, under the question and its answer.

    Args:
        answer_box: as in ``draw_selection``.
    """
    from shirg.visualize import draw_selection  # matplotlib takes seconds to import, and most runs draw nothing

    assert prefix.shirg is not None
    with warnings.catch_warnings():
        # Words may be in a script that matplotlib's font lacks; boxes instead of letters harm no one.
        warnings.filterwarnings("ignore", message="Glyph ")
        return draw_selection(
            image,
            prefix.shirg.selection,
            resize=config.resize,
            scaffold_tokens=prefix.scaffold_tokens or 0,
            answer_box=answer_box,
            title=question,
            answer=answer,
        )
