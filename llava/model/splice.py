"""Puts image tokens into embedded prompts.

Axis names: batch (prompts), length (positions after splicing), dim (language width).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
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


def count_images(ids: Tensor) -> int:
    """Image placeholders in one prompt's ids."""
    return int((ids == IMAGE_TOKEN_INDEX).sum())


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
        ValueError: if placeholders and images do not pair up.
    """
    check_image_count(prompts, len(images))
    remaining = iter(images)
    rows: list[Tensor] = []
    label_rows: list[Tensor] = []
    for index, ids in enumerate(prompts):
        row_labels = None if labels is None else labels[index]
        parts: list[Tensor] = []
        label_parts: list[Tensor] = []
        start = 0
        for place in [*(ids == IMAGE_TOKEN_INDEX).nonzero().flatten().tolist(), len(ids)]:
            parts.append(words[index][start:place])
            if row_labels is not None:
                label_parts.append(row_labels[start:place])
            if place < len(ids):
                image = next(remaining).to(words[index])
                parts.append(image)
                if row_labels is not None:
                    label_parts.append(row_labels.new_full((len(image),), IGNORE_INDEX))
            start = place + 1
        rows.append(torch.cat(parts))
        if label_parts:
            label_rows.append(torch.cat(label_parts))
    padded_labels = None
    if label_rows:
        padded_labels = pad_sequence(label_rows, batch_first=True, padding_value=IGNORE_INDEX)
    return PromptEmbeds(
        embeds=pad_sequence(rows, batch_first=True), lengths=tuple(len(row) for row in rows), labels=padded_labels
    )
