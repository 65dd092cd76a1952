"""The coordinate loss: what the model is told about place must be readable from its tokens."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llava.train.losses.loss import AnswersLoss, AnswersSeen, LossSetup, Part


class CoordinateProbe(nn.Module):
    """A linear reader of a token's box from its projected features; thrown away after training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.out = nn.Linear(width, 4)

    def forward(self, tokens: Tensor, boxes: Tensor) -> Tensor:
        """Squared errors of the boxes read from projected tokens, (tokens,) float32 means over x, y, h and w.

        Its gradient reaches the coordinate embedding through the tokens.

        Args:
            tokens: (tokens, width), projected detail tokens.
            boxes: (tokens, 4), their true (x, y, h, w) in [0, 1].
        """
        read = self.out(self.norm(tokens.float()).to(self.out.weight.dtype))
        return F.mse_loss(read.float(), boxes.float(), reduction="none").mean(-1)


class CoordinateLoss(AnswersLoss):
    """Of the detail tokens that the language model was shown."""

    def __init__(self, setup: LossSetup) -> None:
        super().__init__()
        self.probe = CoordinateProbe(setup.width)

    def forward(self, seen: AnswersSeen) -> Part:
        """The sum over tokens, and their number."""
        prefix = seen.prefix
        pairs = zip(prefix.sequences, prefix.boxes, prefix.tokens.lengths, strict=True)
        shown = [(tokens[-length:], boxes[-length:]) for tokens, boxes, length in pairs]
        errors = self.probe(torch.cat([tokens for tokens, _ in shown]), torch.cat([boxes for _, boxes in shown]))
        return errors.sum(), torch.tensor(len(errors), device=errors.device)

    def idle(self, tokens: Tensor, boxes: Tensor) -> Tensor | None:
        return self.probe(tokens, boxes).sum()
