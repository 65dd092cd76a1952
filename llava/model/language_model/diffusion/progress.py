"""Where an answer stands while it is denoised, and what it has cost so far.

Axis names: batch (samples), answer (positions to fill).
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(kw_only=True)
class Progress:
    """Everything on the model's device; each row is what it would be in a batch of its own."""

    tokens: Tensor
    """(batch, answer) ids, masks where nothing is settled yet."""
    probabilities: Tensor
    """(batch, answer) float32: how probable each token was when it was settled; 0 at masks, 1 for a draft's own tokens
    and behind an end of turn that settled them with it."""
    settled_in: Tensor
    """(batch, answer) int64: the step of its row, counted from 1, in which each token was settled; 0 at masks, for a
    draft's own tokens, and for a first token that the prompt alone predicts."""
    steps: Tensor
    """(batch,) int64: steps that each row has taken until it was done."""
    forwards: Tensor
    """(batch,) int64: passes of the answer through the model that these steps took; fewer where steps were drafted
    ahead. A batch runs as many as its slowest row needs."""

    @classmethod
    def start(cls, tokens: Tensor, mask_id: int) -> "Progress":
        """Nothing settled but what ``tokens`` (batch, answer) hold already."""
        return cls(
            tokens=tokens,
            probabilities=(tokens != mask_id).float(),
            settled_in=torch.zeros_like(tokens),
            steps=tokens.new_zeros(len(tokens)),
            forwards=tokens.new_zeros(len(tokens)),
        )

    def restart(self, other: "Progress") -> "Progress":
        """This one, at its place in memory, standing where ``other`` stands."""
        for name, tensor in vars(self).items():
            tensor.copy_(getattr(other, name))
        return self

    def copy(self) -> "Progress":
        """The same in memory of its own."""
        return Progress(**{name: tensor.clone() for name, tensor in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class DenoisingStep:
    """What an observer sees after a forward."""

    index: int
    """Steps done so far, counted from 1 over all blocks; several more than last time where they were drafted ahead."""
    planned: int
    """Steps the settings allow; stopping early or a threshold may need fewer."""
    progress: Progress
    """A live view: copy what is to be kept."""

    @property
    def tokens(self) -> Tensor:
        """(batch, answer) ids, masks where nothing is settled yet."""
        return self.progress.tokens
