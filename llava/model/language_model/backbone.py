"""What LaViDa, diffusion decoding and training ask of a language model, whichever it is.

``TransformerBackbone`` does most of it for a model that is a row of pre-norm layers. How a backbone is added is told in
docs/backbones.md.

Axis names: batch, length (positions), prefix (prompt positions), answer (positions to fill), dim, vocab.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from llava.model.language_model.diffusion.kv_cache import KVCache
from llava.model.language_model.rotary import Rotary


class Backbone(nn.Module):
    """A masked-diffusion language model without a task: embedding, layers, final norm and output head."""

    config: Any
    """A ``LavidaConfig`` with the language model's own entries."""
    embed_tokens: Callable[[Tensor], Tensor]
    """Word embeddings (batch, length, dim) of token ids (batch, length): a method, or the embedding module itself."""
    predicts_next: ClassVar[bool] = False
    """Whether a token is read from the position before it, as in models that were trained on next tokens, instead of
    from its own."""

    @classmethod
    def reading(cls, states: Tensor, start: int, end: int, before: Tensor | None = None) -> Tensor:
        """What the tokens at the positions from ``start`` to ``end`` are read from, (..., end - start, dim).

        The one place that knows ``predicts_next``: whatever lies along positions can be passed, hidden states or the
        places themselves.

        Args:
            states: (..., length, dim), one for each position of a text.
            before: (..., dim) what stands before the first of them; the first one itself where nothing does.
        """
        if not cls.predicts_next:
            return states[..., start:end, :]
        if start:
            return states[..., start - 1 : end - 1, :]
        first = states[..., :1, :] if before is None else before[..., None, :]
        return torch.cat([first, states[..., : end - 1, :]], dim=-2)

    def place_embeddings(self, count: int) -> Tensor | None:
        """What is added to an answer's first ``count`` tokens to tell their places, (count, dim); None where nothing
        is, as in released models, which tell places by rotary positions alone."""
        return None

    def embed_answer(self, ids: Tensor) -> Tensor:
        """Embeddings (..., length, dim) of an answer's tokens (..., length), counted from its first."""
        places = self.place_embeddings(ids.shape[-1])
        embeds = self.embed_tokens(ids)
        return embeds if places is None else embeds + places

    @property
    @abstractmethod
    def embedding(self) -> nn.Module:
        """Looked up by token ids."""

    @abstractmethod
    def set_embedding(self, value: nn.Module) -> None:
        """Put another in its place. A property's setter would not do: ``nn.Module`` takes modules before it."""

    @property
    @abstractmethod
    def head(self) -> nn.Module | None:
        """Turns hidden states into scores; None where the embedding does that too."""

    @abstractmethod
    def set_head(self, value: nn.Module) -> None:
        """Put another in its place."""

    @property
    @abstractmethod
    def blocks(self) -> Sequence[nn.Module]:
        """The transformer layers in order; ``TransformerBlock`` says what losses and LoRA ask of one."""

    @property
    @abstractmethod
    def head_weight(self) -> Tensor:
        """What turns hidden states into scores, (vocab, dim)."""

    @abstractmethod
    def compute_logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary, (..., vocab), for final hidden states (..., dim)."""

    @abstractmethod
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

    @abstractmethod
    def new_cache(self, prefix_embeds: Tensor, *, prefix_length: int, num_answer: int, padded: bool) -> KVCache:
        """Room for the keys and values of prefixes like these (batch, prefix, dim) and of answers, for ``prefill``.

        Args:
            prefix_length: slots for a prefix.
            padded: whether prefixes may be shorter than that.
        """

    @abstractmethod
    def prefill(
        self, prefix_embeds: Tensor, lengths: Sequence[int], *, num_answer: int, cache: KVCache | None = None
    ) -> KVCache:
        """The prefix's keys and values, with ``num_answer`` free slots behind them.

        The prefix sees itself only. Where ``predicts_next``, the cache's ``before`` is what the first answer token is
        read from; else neither the last layer's output nor logits are computed: nothing reads them.

        Args:
            prefix_embeds: (batch, prefix, dim), padded at the end.
            lengths: real positions of each sample, on the host.
            cache: where to put them, from ``new_cache``; made for them when not given.
        """

    @abstractmethod
    def answer_rotary(self, cache: KVCache, num_answer: int) -> Rotary:
        """Rotary angles of the answer behind each sample's own prefix."""

    @abstractmethod
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
