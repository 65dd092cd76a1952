"""LLaDA (arXiv 2502.09992): a bidirectional transformer that predicts masked tokens.

The module tree gives the state-dict keys of the released checkpoints (``transformer.blocks.0.q_proj.weight``, ...).

Axis names: batch (samples), length (positions), dim (model width), heads, head_dim, vocab.
"""

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from llava.model.language_model.backbone import Backbone, Rotary
from llava.model.language_model.diffusion.kv_cache import KVCache
from llava.model.language_model.llada.configuration_llada import LLaDAConfig


def rotary_embedding(positions: Tensor, head_dim: int, theta: float) -> Rotary:
    """Cosine and sine of the rotary angles at ``positions`` (batch or 1, length).

    The angles are computed in float32: in bfloat16 neighboring positions beyond 256 would coincide.
    """
    exponents = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32) / head_dim
    angles = positions[..., None].float() * theta**-exponents
    angles = torch.cat([angles, angles], dim=-1)[:, None]
    return angles.cos(), angles.sin()


def apply_rotary(states: Tensor, rotary: Rotary) -> Tensor:
    """Rotate queries or keys (batch, heads, length, head_dim) by position, in float32; gives back their dtype."""
    cos, sin = rotary
    first, second = states.chunk(2, dim=-1)
    # Products with the float32 angles are float32, whatever the states are.
    return (states * cos + torch.cat([-second, first], dim=-1) * sin).to(states.dtype)


class LLaDABlock(GradientCheckpointingLayer):
    """One transformer layer: attention over all positions, then a gated MLP, each behind an RMS norm."""

    def __init__(self, config: LLaDAConfig) -> None:
        super().__init__()
        width, hidden = config.d_model, config.mlp_hidden_size
        self.num_heads = config.n_heads
        self.attn_norm = nn.RMSNorm(width, eps=config.rms_norm_eps)
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.attn_out = nn.Linear(width, width, bias=False)
        self.ff_norm = nn.RMSNorm(width, eps=config.rms_norm_eps)
        self.ff_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.ff_out = nn.Linear(hidden, width, bias=False)

    def _heads(self, states: Tensor) -> Tensor:
        return states.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def keys_values(self, normed: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor]:
        """Rotated keys and values, each (batch, heads, length, head_dim), of normed hidden states."""
        return apply_rotary(self._heads(self.k_proj(normed)), rotary), self._heads(self.v_proj(normed))

    def forward(
        self,
        hidden: Tensor,
        rotary: Rotary,
        attention_mask: Tensor | None = None,
        buffers: tuple[Tensor, Tensor] | None = None,
        start: int = 0,
    ) -> Tensor:
        """Hidden states after the layer, (batch, length, dim).

        With ``buffers`` (keys, values of (batch, heads, slots, head_dim)), this call's keys and values are written at
        slot ``start`` and attention runs over everything up to their end.
        """
        normed = self.attn_norm(hidden)
        # Queries and keys are rotated together, which takes half as many operations.
        both = torch.cat([self._heads(self.q_proj(normed)), self._heads(self.k_proj(normed))], dim=1)
        query, key = apply_rotary(both, rotary).chunk(2, dim=1)
        value = self._heads(self.v_proj(normed))
        if buffers is not None:
            end = start + hidden.shape[1]
            buffers[0][:, :, start:end], buffers[1][:, :, start:end] = key, value
            key, value = buffers[0][:, :, :end], buffers[1][:, :, :end]
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask)
        hidden = hidden + self.attn_out(attended.transpose(1, 2).flatten(2))
        normed = self.ff_norm(hidden)
        return hidden + self.ff_out(F.silu(self.ff_proj(normed)) * self.up_proj(normed))


class LLaDAModel(Backbone):
    """Embedding, blocks, final norm and output head, without a task."""

    config: LLaDAConfig

    def __init__(self, config: LLaDAConfig) -> None:
        super().__init__()
        self.config = config
        rows = config.vocab_rows
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(rows, config.d_model),
                "blocks": nn.ModuleList(LLaDABlock(config) for _ in range(config.n_layers)),
                "ln_f": nn.RMSNorm(config.d_model, eps=config.rms_norm_eps),
            }
        )
        if not config.weight_tying:
            self.transformer["ff_out"] = nn.Linear(config.d_model, rows, bias=False)

    @property
    def blocks(self) -> list[LLaDABlock]:
        """The transformer layers in order."""
        return list(cast(nn.ModuleList, self.transformer["blocks"]))  # type: ignore[arg-type]

    @property
    def embedding(self) -> nn.Module:
        return self.transformer["wte"]

    def set_embedding(self, value: nn.Module) -> None:
        self.transformer["wte"] = value

    @property
    def head(self) -> nn.Module | None:
        return None if self.config.weight_tying else self.transformer["ff_out"]

    def set_head(self, value: nn.Module) -> None:
        self.transformer["ff_out"] = value

    def embed_tokens(self, ids: Tensor) -> Tensor:
        """Word embeddings (batch, length, dim) of token ids (batch, length)."""
        return self.transformer["wte"](ids)

    @property
    def head_weight(self) -> Tensor:
        """What turns hidden states into scores, (vocab, dim)."""
        head = self.transformer["wte"] if self.config.weight_tying else self.transformer["ff_out"]
        return cast(Tensor, head.weight)

    def compute_logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary, (..., vocab), for final hidden states (..., dim)."""
        return F.linear(hidden, self.head_weight)

    def forward(
        self, inputs_embeds: Tensor, attention_mask: Tensor | None = None, position_ids: Tensor | None = None
    ) -> Tensor:
        """Final hidden states (batch, length, dim) with attention between all real positions.

        Args:
            inputs_embeds: (batch, length, dim).
            attention_mask: True where a key may be seen, (batch, length) for padding or (batch, length, length) for any
                pattern; None when nothing is padded.
            position_ids: rotary positions (batch or 1, length); counted from each row's start when not given.
        """
        if position_ids is None:
            position_ids = torch.arange(inputs_embeds.shape[1], device=inputs_embeds.device)[None]
        rotary = self._rotary(position_ids)
        mask = None
        if attention_mask is not None:
            mask = attention_mask.bool()
            mask = mask[:, None, None, :] if mask.ndim == 2 else mask[:, None]
        hidden = inputs_embeds
        for block in self.blocks:
            hidden = block(hidden, rotary, mask)
        return self.transformer["ln_f"](hidden)

    def prefill(self, prefix_embeds: Tensor, lengths: Sequence[int], *, num_answer: int) -> KVCache:
        """The prefix's keys and values, with ``num_answer`` free slots behind them.

        The prefix sees itself only, and neither the last layer's output nor logits are computed: nothing reads them.

        Args:
            prefix_embeds: (batch, prefix, dim), padded at the end.
            lengths: real positions of each sample, on the host.
        """
        batch, prefix, width = prefix_embeds.shape
        head_dim = width // self.config.n_heads
        device, dtype = prefix_embeds.device, prefix_embeds.dtype
        shape = (batch, self.config.n_heads, prefix + num_answer, head_dim)
        keys = tuple(torch.empty(shape, device=device, dtype=dtype) for _ in self.blocks)
        values = tuple(torch.empty(shape, device=device, dtype=dtype) for _ in self.blocks)
        prefix_lengths = torch.tensor(list(lengths), device=device)
        bias = None
        if min(lengths) < prefix:
            slots = torch.arange(prefix + num_answer, device=device)
            padding = (slots >= prefix_lengths[:, None]) & (slots < prefix)
            # Fused attention wants rows of a bias to start at multiples of 8 elements.
            bias = torch.zeros(batch, 1, 1, -(-len(slots) // 8) * 8, device=device, dtype=dtype)[..., : len(slots)]
            bias.masked_fill_(padding[:, None, None], -torch.inf)
        mask = None if bias is None else bias[..., :prefix]
        rotary = self._rotary(torch.arange(prefix, device=device)[None])
        hidden = prefix_embeds
        *earlier, last = self.blocks
        for index, block in enumerate(earlier):
            hidden = block(hidden, rotary, mask, (keys[index], values[index]))
        keys[-1][:, :, :prefix], values[-1][:, :, :prefix] = last.keys_values(last.attn_norm(hidden), rotary)
        return KVCache(keys=keys, values=values, prefix_length=prefix, prefix_lengths=prefix_lengths, bias=bias)

    def denoise(
        self, answer_embeds: Tensor, cache: KVCache, rotary: Rotary, attention_bias: Tensor | None = None
    ) -> Tensor:
        """Final hidden states (batch, answer, dim) of an answer that sees the cached prefix and itself.

        Rewrites the cache's answer slots; its prefix slots stay as they are. ``rotary`` belongs to
        ``cache.answer_positions`` and is the same in every step, so the caller computes it once.

        Args:
            attention_bias: (batch or 1, 1, answer, prefix + answer) to add to attention scores, the cache's own
                included; the cache's own when not given.
        """
        end = cache.prefix_length + answer_embeds.shape[1]
        mask = attention_bias
        if mask is None and cache.bias is not None:
            mask = cache.bias[..., :end]
        hidden = answer_embeds
        for block, buffers in zip(self.blocks, zip(cache.keys, cache.values, strict=True), strict=True):
            hidden = block(hidden, rotary, mask, buffers, cache.prefix_length)
        return self.transformer["ln_f"](hidden)

    def _rotary(self, positions: Tensor) -> Rotary:
        return rotary_embedding(positions, self.config.d_model // self.config.n_heads, self.config.rope_theta)

    def set_activation_checkpointing(self, strategy: str | None) -> None:
        """LaViDa's switch: any strategy recomputes whole layers in the backward pass, None keeps their activations."""
        for block in self.blocks:
            block.gradient_checkpointing = strategy is not None
            block._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)

    def answer_rotary(self, cache: KVCache, num_answer: int) -> Rotary:
        """Rotary angles of the answer behind each sample's own prefix."""
        return self._rotary(cache.answer_positions(num_answer))
