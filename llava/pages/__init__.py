"""Drawn pages with exact answers: three families, five splits, and rungs from large shapes to dense small print."""

from llava.pages.characters import CHARACTERS, NONE
from llava.pages.export import page_records
from llava.pages.labels import (
    PatchLabels,
    answer_patches,
    evidence_patches,
    inked_patches,
    patch_labels,
    patch_words,
    patches_under,
)
from llava.pages.lexicon import WORDS
from llava.pages.page import COLORS, HUES, SHAPES, Box, Mark, Page, PageQuestion, plural
from llava.pages.stream import FAMILIES, SPLITS, PageStream, draw_page
from llava.pages.style import STYLES, PageStyle
from llava.pages.wordings import CAPTIONS, DETAILS

__all__ = [
    "CAPTIONS",
    "CHARACTERS",
    "COLORS",
    "DETAILS",
    "FAMILIES",
    "HUES",
    "NONE",
    "SHAPES",
    "SPLITS",
    "STYLES",
    "WORDS",
    "Box",
    "Mark",
    "Page",
    "PageQuestion",
    "PageStream",
    "PageStyle",
    "PatchLabels",
    "answer_patches",
    "draw_page",
    "evidence_patches",
    "inked_patches",
    "page_records",
    "patch_labels",
    "patch_words",
    "patches_under",
    "plural",
]
