"""What LaViDa and diffusion decoding ask of a language model, whichever it is.

Axis names: batch, length (positions), prefix (prompt positions), answer (positions to fill), dim, vocab.
"""

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn
from transformers import PretrainedConfig

from llava.model.language_model.diffusion.kv_cache import KVCache

Rotary = tuple[Tensor, Tensor]
"""Cosines and sines of rotary angles."""


class Backbone(nn.Module):
    """A masked-diffusion language model without a task: embedding, layers, final norm and output head."""

    config: PretrainedConfig

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
        """The transformer layers in order."""

    @property
    @abstractmethod
    def head_weight(self) -> Tensor:
        """What turns hidden states into scores, (vocab, dim)."""

    @abstractmethod
    def embed_tokens(self, ids: Tensor) -> Tensor:
        """Word embeddings (batch, length, dim) of token ids (batch, length)."""

    @abstractmethod
    def compute_logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary, (..., vocab), for final hidden states (..., dim)."""

    @abstractmethod
    def forward(
        self, inputs_embeds: Tensor, attention_mask: Tensor | None = None, position_ids: Tensor | None = None
    ) -> Tensor:
        """Final hidden states (batch, length, dim) with attention between all real positions.

        Args:
            attention_mask: True where a key may be seen, (batch, length) or (batch, length, length); None for all.
            position_ids: (batch, length) rotary positions; counted from the row's start when not given.
        """

    @abstractmethod
    def prefill(self, prefix_embeds: Tensor, lengths: Sequence[int], *, num_answer: int) -> KVCache:
        """The prefix's keys and values, with ``num_answer`` free slots behind them."""

    @abstractmethod
    def answer_rotary(self, cache: KVCache, num_answer: int) -> Rotary:
        """Rotary angles of the answer behind each sample's own prefix."""

    @abstractmethod
    def denoise(
        self, answer_embeds: Tensor, cache: KVCache, rotary: Rotary, attention_bias: Tensor | None = None
    ) -> Tensor:
        """Final hidden states (batch, answer, dim) of an answer that sees the cached prefix and itself.

        Args:
            attention_bias: (batch or 1, 1, answer, prefix + answer) to add to attention scores, the cache's own
                included; the cache's own when not given.
        """
