"""The coordinate loss: what the model is told about place must be readable from its tokens."""

import torch.nn.functional as F
from torch import Tensor, nn


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
