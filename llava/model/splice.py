"""Puts image tokens into embedded prompts.

Axis names: batch (prompts), length (positions after splicing), dim (language width).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from llava.constants import IGNORE_INDEX, IMAGE_TOKEN_INDEX
from shirg.transfer import to_device


@dataclass(frozen=True, kw_only=True)
class PromptEmbeds:
    """Embedded prompts, padded at the end with zeros."""

    embeds: Tensor
    """(batch, length, dim)"""
    lengths: tuple[int, ...]
    """Real positions of each prompt."""
    labels: Tensor | None = None
    """(batch, length) int64; image tokens and padding carry ``IGNORE_INDEX``."""

    @property
    def attention_mask(self) -> Tensor | None:
        """(batch, length) bool, True on real positions; None when nothing is padded."""
        length = self.embeds.shape[1]
        if min(self.lengths) == length:
            return None
        mask = torch.arange(length) < torch.tensor(self.lengths)[:, None]
        return to_device(mask, self.embeds.device)


def image_places(ids: Tensor) -> list[int]:
    """Where the image placeholders stand in one prompt's ids."""
    return np.flatnonzero(ids.cpu().numpy() == IMAGE_TOKEN_INDEX).tolist()


def count_images(ids: Tensor) -> int:
    """Image placeholders in one prompt's ids."""
    return len(image_places(ids))


def check_image_count(prompts: Sequence[Tensor], num_images: int) -> None:
    """Refuse prompts whose placeholders and images do not pair up.

    Raises:
        ValueError: naming both numbers; pairing them anyway would silently answer about the wrong image.
    """
    wanted = [count_images(ids) for ids in prompts]
    if sum(wanted) != num_images:
        raise ValueError(
            f"the prompts hold {sum(wanted)} <image> placeholders ({wanted} by prompt) but {num_images} images were "
            "given; they must be equal"
        )


def splice_images(
    prompts: Sequence[Tensor],
    words: Sequence[Tensor],
    images: Sequence[Tensor],
    labels: Sequence[Tensor] | None = None,
) -> PromptEmbeds:
    """Prompts whose placeholders are replaced by the images' token sequences, in order.

    Args:
        prompts: ids of each prompt, (positions,) without padding, on the host: where images go is decided there.
        words: embeddings of the same ids, each (positions, dim); what stands at a placeholder is not used.
        images: projected tokens (tokens, dim) of every image, in the order of the placeholders over all prompts.
        labels: as ``prompts``, one label for each id.

    Raises:
        ValueError: if placeholders and images, or ids and labels, do not pair up.
    """
    check_image_count(prompts, len(images))
    texts = torch.cat(list(words))
    tokens = torch.cat(list(images)).to(texts) if images else texts[:0]
    flat = torch.cat([texts, tokens, texts.new_zeros(1, texts.shape[1])])
    rows = _source_rows(prompts, [len(image) for image in images], num_words=len(texts))
    lengths = tuple(len(row) for row in rows)
    nothing = len(flat) - 1
    index = pad_sequence(rows, batch_first=True, padding_value=nothing)
    # One gather for all prompts. Of the ways to gather, embedding has the backward pass that sorts and skips padding.
    embeds = functional.embedding(to_device(index, flat.device), flat, padding_idx=nothing)
    if labels is None:
        return PromptEmbeds(embeds=embeds, lengths=lengths)
    if (counts := [len(row) for row in labels]) != [len(ids) for ids in prompts]:
        raise ValueError(f"prompts of {[len(ids) for ids in prompts]} ids got {counts} labels; give one for each id")
    known = torch.cat([*labels, labels[0].new_full((1,), IGNORE_INDEX)])
    spliced = known[to_device(index.clamp(max=len(texts)), known.device)]
    return PromptEmbeds(embeds=embeds, lengths=lengths, labels=spliced)


def _source_rows(prompts: Sequence[Tensor], image_lengths: Sequence[int], *, num_words: int) -> list[Tensor]:
    """Per prompt (positions,) int64: which row of all words, followed by all image tokens, stands at each position."""
    ends = np.cumsum([num_words, *image_lengths])
    spans = pairwise(ends)
    rows, first = [], 0
    for ids in prompts:
        parts, start = [], 0
        for place in image_places(ids):
            parts += [np.arange(first + start, first + place), np.arange(*next(spans))]
            start = place + 1
        parts.append(np.arange(first + start, first + len(ids)))
        rows.append(torch.from_numpy(np.concatenate(parts)))
        first += len(ids)
    return rows
