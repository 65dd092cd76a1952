"""A backbone that is a row of pre-norm layers: everything but its modules, which come under its checkpoints' names.

Axis names: batch (samples), length (positions), dim (model width), heads (of queries), groups (of keys and values, each
read by as many heads as the others), head_dim, prefix (prompt positions), answer (positions to fill).
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from llava.model.language_model.backbone import Backbone
from llava.model.language_model.diffusion.kv_cache import KVCache
from llava.model.language_model.rotary import Rotary, apply_rotary, rotary_embedding


class Projections(NamedTuple):
    """The linear layers of attention by what they do; LoRA is put on them."""

    query: nn.Module
    key: nn.Module
    value: nn.Module
    output: nn.Module


class TransformerBlock(GradientCheckpointingLayer):
    """One layer: attention over all positions, then a gated MLP, each behind a norm and added to what it was given."""

    num_heads: int
    num_groups: int
    """Heads of keys and values; fewer than ``num_heads`` where these share them."""

    @property
    @abstractmethod
    def projections(self) -> Projections:
        """Attention's linear layers."""

    @property
    @abstractmethod
    def attention_norm(self) -> nn.Module:
        """What hidden states pass before attention."""

    @property
    @abstractmethod
    def mlp_norm(self) -> nn.Module:
        """What they pass before the MLP."""

    @abstractmethod
    def feed_forward(self, normed: Tensor) -> Tensor:
        """The MLP, (batch, length, dim), of normed hidden states."""

    def queries(self, normed: Tensor) -> Tensor:
        """Queries before their rotation, (batch, heads, length, head_dim), of normed hidden states."""
        return _split(self.projections.query(normed), self.num_heads)

    def keys_values(self, normed: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor]:
        """Rotated keys and values, each (batch, groups, length, head_dim), of normed hidden states."""
        keys = _split(self.projections.key(normed), self.num_groups)
        return apply_rotary(keys, rotary), _split(self.projections.value(normed), self.num_groups)

    def per_head(self, states: Tensor, *, dim: int) -> Tensor:
        """Keys or values of groups along ``dim``, repeated so that each head has its own."""
        return states if self.num_groups == self.num_heads else states.repeat_interleave(self._shared, dim)

    @property
    def _shared(self) -> int:
        return self.num_heads // self.num_groups

    def forward(
        self,
        hidden: Tensor,
        rotary: Rotary,
        attention_mask: Tensor | None = None,
        buffers: tuple[Tensor, Tensor] | None = None,
        start: int = 0,
    ) -> Tensor:
        """Hidden states after the layer, (batch, length, dim).

        With ``buffers`` (keys, values of (batch, groups, slots, head_dim)), this call's keys and values are written at
        slot ``start`` and attention runs over everything up to their end.
        """
        normed, project = self.attention_norm(hidden), self.projections
        # Queries and keys are rotated together, which takes half as many operations.
        both = [self.queries(normed), _split(project.key(normed), self.num_groups)]
        query, key = apply_rotary(torch.cat(both, dim=1), rotary).split([self.num_heads, self.num_groups], dim=1)
        value = _split(project.value(normed), self.num_groups)
        if buffers is not None:
            end = start + hidden.shape[1]
            buffers[0][:, :, start:end], buffers[1][:, :, start:end] = key, value
            key, value = buffers[0][:, :, :end], buffers[1][:, :, :end]
        return self.finish(hidden, query, key, value, attention_mask)

    def finish(self, hidden: Tensor, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Hidden states after the layer, of given rotated queries, keys and values."""
        attended = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, enable_gqa=self.num_groups < self.num_heads
        )
        hidden = hidden + self.projections.output(attended.transpose(1, 2).flatten(2))
        return hidden + self.feed_forward(self.mlp_norm(hidden))


def _split(states: Tensor, heads: int) -> Tensor:
    """(batch, heads, length, head_dim) of (batch, length, heads * head_dim)."""
    return states.unflatten(-1, (heads, -1)).transpose(1, 2)


class TransformerBackbone(Backbone):
    """Runs the layers; subclasses give them, the embedding, the final norm and the head."""

    @property
    @abstractmethod
    def blocks(self) -> Sequence[TransformerBlock]:
        """The layers in order."""

    @property
    @abstractmethod
    def final_norm(self) -> nn.Module:
        """What hidden states pass behind the last layer."""

    def compute_logits(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.head_weight)

    def forward(
        self, inputs_embeds: Tensor, attention_mask: Tensor | None = None, position_ids: Tensor | None = None
    ) -> Tensor:
        if position_ids is None:
            position_ids = torch.arange(inputs_embeds.shape[1], device=inputs_embeds.device)[None]
        rotary = self.rotary(position_ids)
        mask = None
        if attention_mask is not None:
            mask = attention_mask.bool()
            mask = mask[:, None, None, :] if mask.ndim == 2 else mask[:, None]
        hidden = inputs_embeds
        for block in self.blocks:
            hidden = block(hidden, rotary, mask)
        return self.final_norm(hidden)

    def new_cache(self, prefix_embeds: Tensor, *, prefix_length: int, num_answer: int, padded: bool) -> KVCache:
        batch, _, width = prefix_embeds.shape
        return KVCache.allocate(
            (batch, self.blocks[0].num_groups, width // self.config.num_attention_heads),
            num_layers=len(self.blocks),
            prefix_length=prefix_length,
            num_answer=num_answer,
            padded=padded,
            like=prefix_embeds,
        )

    def prefill(
        self, prefix_embeds: Tensor, lengths: Sequence[int], *, num_answer: int, cache: KVCache | None = None
    ) -> KVCache:
        _, prefix, width = prefix_embeds.shape
        padded = min(lengths) < prefix
        if cache is None:
            cache = self.new_cache(prefix_embeds, prefix_length=prefix, num_answer=num_answer, padded=padded)
        cache.begin(lengths)
        blocks, keys, values = self.blocks, cache.keys, cache.values
        mask = cache.bias[..., :prefix] if padded and cache.bias is not None else None
        rotary = self.rotary(torch.arange(prefix, device=prefix_embeds.device)[None])
        hidden = prefix_embeds
        *earlier, last = blocks
        for index, block in enumerate(earlier):
            hidden = block(hidden, rotary, mask, (keys[index], values[index]))
        normed = last.attention_norm(hidden)
        key, value = keys[-1][:, :, :prefix], values[-1][:, :, :prefix]
        key[:], value[:] = last.keys_values(normed, rotary)
        before = None
        if self.predicts_next:
            ends = (cache.prefix_lengths - 1)[:, None]
            at = ends[..., None].expand(-1, -1, width)
            query = apply_rotary(last.queries(normed.gather(1, at)), self.rotary(ends))
            before = self.final_norm(last.finish(hidden.gather(1, at), query, key, value, mask))[:, 0]
        return replace(cache, before=before)

    def denoise(
        self, answer_embeds: Tensor, cache: KVCache, rotary: Rotary, attention_bias: Tensor | None = None
    ) -> Tensor:
        end = cache.prefix_length + answer_embeds.shape[1]
        mask = attention_bias
        if mask is None and cache.bias is not None:
            mask = cache.bias[..., :end]
        hidden = answer_embeds
        for block, buffers in zip(self.blocks, zip(cache.keys, cache.values, strict=True), strict=True):
            hidden = block(hidden, rotary, mask, buffers, cache.prefix_length)
        return self.final_norm(hidden)

    def rotary(self, positions: Tensor) -> Rotary:
        """Rotary angles at positions (batch or 1, length)."""
        return rotary_embedding(
            positions, self.config.hidden_size // self.config.num_attention_heads, self.config.rope_theta
        )

    def answer_rotary(self, cache: KVCache, num_answer: int) -> Rotary:
        return self.rotary(cache.answer_positions(num_answer))

    def set_activation_checkpointing(self, strategy: str | None) -> None:
        """LaViDa's switch: any strategy recomputes whole layers in the backward pass, None keeps their activations."""
        for block in self.blocks:
            block.gradient_checkpointing = strategy is not None
            block._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
