"""Whether a page shows anything at all, known before a model is asked about it."""

import torch
from PIL import Image

from llava.image_processor import SigLipImageProcessor
from llava.mm_utils import page_views
from shirg.encoded import EncodedPages
from shirg.ink import color_spans, find_ink
from shirg.tiling import PageViews

_GRID, _PATCH = 48, 14
"""SHIRG-X's own view, for pages that are encoded without it."""


def is_blank(picture: Image.Image, encoded: EncodedPages | None, processor: SigLipImageProcessor) -> bool:
    """Whether no patch of the page has ink, as ``shirg.ink`` finds it: what is transparent, of one color, or a shadow.

    Args:
        picture: in RGB.
        encoded: SHIRG-X's view, whose patches have been judged; None for LaViDa's own encoding.
    """
    inked = None if encoded is None else encoded.dual.inked
    if inked is None:
        view = page_views(picture, processor, PageViews(side=_GRID * _PATCH, pad=False))
        spans = color_spans(processor.to_8_bit(view), patch_size=_PATCH).flatten(1)
        inked = find_ink(spans, torch.ones_like(spans, dtype=torch.bool))
    return not bool(inked.any())
