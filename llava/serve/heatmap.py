"""Pictures of what was kept for a question."""

import warnings

from PIL import Image

from llava.inference.session import VisualPrefix
from shirg.config import ShirgXConfig


def draw_heatmap(
    image: Image.Image,
    prefix: VisualPrefix,
    config: ShirgXConfig,
    *,
    title: str,
    answer_box: tuple[float, float, float, float] | None = None,
) -> Image.Image:
    """The page with its kept and dropped patches, beside their scores; ``answer_box`` as in ``draw_selection``."""
    from shirg.visualize import draw_selection  # matplotlib takes seconds to import, and most runs draw nothing

    assert prefix.shirg is not None
    with warnings.catch_warnings():
        # The title may be in a script that matplotlib's font lacks; boxes instead of letters harm no one.
        warnings.filterwarnings("ignore", message="Glyph ")
        return draw_selection(
            image,
            prefix.shirg.selection,
            grid=config.grid,
            scaffold_factor=config.scaffold_factor,
            resize=config.resize,
            answer_box=answer_box,
            title=title,
        )
