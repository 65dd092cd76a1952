"""First embeddings of words, composed of what the words are spelled with.

Words with random embeddings are as many codes to be learned by heart, and a vision tower that reads characters finds
out late which pieces of words they make. Where an embedding is the sum of codes of its characters and of pairs of
them, words that look alike are alike from the start, and what a patch shows is near the words that hold it, as in
Bojanowski et al., Enriching Word Vectors with Subword Information (2017).
"""

import unicodedata
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

_EXACT, _FOLDED, _PAIR, _START, _OWN = 0.45, 0.45, 1.0, 0.7, 0.5
"""How much characters count as they are, without case and accent, in pairs, as a word's first, and the word itself."""


def spelled_embeddings(texts: Sequence[str | None], width: int, generator: torch.Generator) -> Tensor:
    """(texts, width) float32 rows of norm 1.

    Args:
        texts: what each token stands for, a leading blank included; None for tokens with no spelling.
    """
    codes: dict[tuple[str, str], Tensor] = {}

    def code(kind: str, text: str) -> Tensor:
        if (kind, text) not in codes:
            codes[kind, text] = torch.randn(width, generator=generator) / width**0.5
        return codes[kind, text]

    rows = []
    for number, text in enumerate(texts):
        spelled = (text or "").strip()
        if not spelled or len(text or "") == 1:
            # A character alone is its own code, so that others can be told to hold it; blanks and bytes are themselves.
            alone = code("exact", spelled) if spelled else code("own", str(number))
            rows.append(alone / alone.norm())
            continue
        folded = [_fold(character) for character in spelled]
        total = _OWN * code("own", str(number))
        for character, plain in zip(spelled, folded, strict=True):
            total = total + _EXACT * code("exact", character) + _FOLDED * code("exact", plain)
        for one, other in pairwise(folded):
            total = total + _PAIR * code("pair", one + other)
        if text != spelled:
            total = total + _START * code("start", folded[0])
        rows.append(total / total.norm())
    return torch.stack(rows)


def _fold(character: str) -> str:
    """Without its case and accent."""
    return unicodedata.normalize("NFKD", character)[0].lower()
