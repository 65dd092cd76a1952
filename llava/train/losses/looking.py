"""Where the language model looks: the attention that positions pay to tokens of the page, and how to teach it.

A generator of pages knows what an answer is read from. Asking the attention for it is a shortcut to a skill that the
denoising loss alone finds late in small models. The same attention is what a relevance can be distilled from.

Axis names: rows and positions (as in ``TwoCopies``), queries (asking positions of a row, padded), heads.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llava.model.language_model.backbone import Backbone
from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.model.language_model.rotary import Rotary, apply_rotary
from llava.model.language_model.transformer import TransformerBlock
from shirg.transfer import to_device

_TOUCH = 1e-5
"""Overlaps below this share of a page are what float32 makes of boxes that meet at a border."""


@dataclass(frozen=True, kw_only=True)
class BlockInput:
    """What one transformer layer was given."""

    block: TransformerBlock
    hidden: Tensor
    """(rows, positions, dim)"""
    rotary: Rotary
    attention_mask: Tensor | None
    """Broadcasts to (rows, heads, positions, positions); True where a key may be seen."""


@contextmanager
def record_block_inputs(model: Backbone, layers: Sequence[int]) -> Iterator[dict[int, BlockInput]]:
    """Fills the dictionary with the inputs of ``layers`` during one forward pass inside the context.

    Raises:
        ValueError: if the model has no such layer.
    """
    blocks, found = model.blocks, {}
    if not all(0 <= layer < len(blocks) for layer in layers):
        raise ValueError(f"layers must lie from 0 to {len(blocks) - 1} in this model, got {list(layers)}")

    def record(layer: int, block: nn.Module, inputs: tuple) -> None:
        hidden, rotary, mask = inputs
        assert isinstance(block, TransformerBlock)
        found[layer] = BlockInput(block=block, hidden=hidden, rotary=rotary, attention_mask=mask)

    hooks = [
        blocks[layer].register_forward_pre_hook(lambda block, inputs, layer=layer: record(layer, block, inputs))
        for layer in layers
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def check_own_places(lavida: LavidaForMaskedDiffusion, loss: str) -> None:
    """Refuse a model in which not the position of a token looks for it, but the one before.

    Raises:
        ValueError: naming the loss.
    """
    if lavida.model.predicts_next:
        raise ValueError(
            f"losses: {loss} teaches tokens to be read from their own positions, which this model does not; "
            "leave it out"
        )


def query_places(asking: Tensor) -> tuple[Tensor, Tensor]:
    """Asking positions of each row, left-aligned: (rows, queries) int64, and (rows, queries) True on real ones."""
    counts = asking.sum(1)
    width = int(counts.max())
    order = asking.byte().argsort(dim=1, descending=True, stable=True)[:, :width]
    return order, torch.arange(width, device=asking.device) < counts[:, None]


def log_attention(given: BlockInput, places: Tensor, heads: int) -> Tensor:
    """Log attention (rows, heads, queries, positions) float32 that the first ``heads`` pay from ``places``."""
    block = given.block
    normed = block.attention_norm(given.hidden)
    head_dim = given.hidden.shape[-1] // block.num_heads
    keys = block.per_head(block.keys_values(normed, given.rotary)[0], dim=1)
    index = places[..., None]
    queries = block.queries(normed.gather(1, index.expand(-1, -1, normed.shape[-1])))
    angles = [
        part.expand(len(places), -1, -1, -1).gather(2, index[:, None].expand(-1, -1, -1, head_dim))
        for part in given.rotary
    ]
    queries = apply_rotary(queries, (angles[0], angles[1]))[:, :heads].float()
    # Autocast would round the scores to 8 bits of mantissa.
    with torch.autocast(queries.device.type, enabled=False):
        scores = queries @ keys[:, :heads].float().transpose(-1, -2) / math.sqrt(head_dim)
    if given.attention_mask is not None:
        mask = given.attention_mask
        if mask.shape[-2] > 1:
            mask = mask.gather(2, index[:, None].expand(-1, -1, -1, mask.shape[-1]))
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.log_softmax(-1)


def looking_loss(inputs: Sequence[BlockInput], asking: Tensor, targets: Tensor, *, heads: int) -> tuple[Tensor, Tensor]:
    """-log of the attention that falls on the targets, averaged over layers, heads and asking positions.

    Returns its sum over asking positions, float32, and how many there are.

    Args:
        asking: (rows, positions) bool, positions that ask.
        targets: (rows, asking, positions) bool, where each should look; positions without targets ask nothing.
        heads: how many heads of each layer are taught; the others stay free.
    """
    asking = asking & targets.any(2)
    count = asking.sum()
    if not bool(count):
        return targets.new_zeros((), dtype=torch.float32), count
    places, real = query_places(asking)
    wanted = targets.gather(1, places[..., None].expand(-1, -1, targets.shape[2]))
    total = torch.zeros((), device=targets.device)
    for given in inputs:
        looks = log_attention(given, places, heads).masked_fill(~wanted[:, None], -math.inf)
        total = total - looks.logsumexp(-1).mean(1)[real].sum()
    return total / len(inputs), count


def tokens_under(token_boxes: Tensor, page_boxes: Sequence[Sequence[tuple[float, float, float, float]]]) -> Tensor:
    """(rows, tokens) bool: which tokens share an area with one of their row's boxes.

    Args:
        token_boxes: (rows, tokens, 4) of (x, y, h, w): centroid and extent.
        page_boxes: per row, (x0, y0, x1, y1) in [0, 1] of the page.
    """
    most = max(1, *map(len, page_boxes))
    nowhere = (1.0, 1.0, 0.0, 0.0)
    boxes = torch.tensor([[*row, *[nowhere] * (most - len(row))] for row in page_boxes])
    x, y, h, w = token_boxes.float()[:, None].unbind(-1)
    x0, y0, x1, y1 = to_device(boxes, token_boxes.device)[..., None, :].unbind(-1)
    wide = torch.minimum(x + w / 2, x1) - torch.maximum(x - w / 2, x0)
    high = torch.minimum(y + h / 2, y1) - torch.maximum(y - h / 2, y0)
    return ((wide > _TOUCH) & (high > _TOUCH)).any(1)
