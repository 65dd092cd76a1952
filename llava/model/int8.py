"""Weights of one byte: each row of a matrix as whole numbers from -127 to 127, and the number they are multiples of.

Rounding to the nearest with one scale for each output, without calibration, as in LLM.int8() (arXiv 2208.07339) where
no outliers are set apart. Activations stay what they are: a product takes the weights through the activations' own
precision, which holds every such whole number exactly, so that the rounding of weights is all that is lost.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llava.model.language_model.lavida import LavidaForMaskedDiffusion

LARGEST = 127


class Int8Linear(nn.Module):
    """A linear layer whose weights are kept in one byte each; it does not train.

    Args:
        linear: the layer whose weights are rounded; it stays as it is.
    """

    weight: nn.Parameter
    """(out, in) int8."""
    scale: nn.Parameter
    """(out,) float32."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        with torch.no_grad():
            full = linear.weight.float()
            scale = full.abs().amax(1) / LARGEST
            # A row of zeros is zero whatever it is a multiple of.
            rounded = (full / scale.where(scale > 0, 1.0)[:, None]).round().to(torch.int8)
        self.weight = nn.Parameter(rounded, requires_grad=False)
        self.scale = nn.Parameter(scale, requires_grad=False)
        self.bias = linear.bias

    def forward(self, features: Tensor) -> Tensor:
        """(..., out) of features (..., in), in their precision."""
        product = (F.linear(features, self.weight.to(features.dtype)) * self.scale).to(features.dtype)
        return product if self.bias is None else product + self.bias


def quantize_language_model(model: LavidaForMaskedDiffusion) -> None:
    """Round the weights of all linear layers of the language model's blocks, in place and layer by layer.

    Embeddings, output head, projector and vision tower keep their precision: they are a sixth of LaViDa-8B's weights,
    and what they lose would be lost for every token.

    Raises:
        ValueError: if the model holds LoRA layers, which add to weights that would be rounded without them.
    """
    blocks = model.get_model().blocks
    if any(hasattr(layer, "lora_A") for block in blocks for layer in block.modules()):
        raise ValueError("the model has LoRA layers; merge the adapter before its weights are rounded to int8")
    for block in blocks:
        for parent in list(block.modules()):
            for name, layer in list(parent.named_children()):
                if type(layer) is nn.Linear:
                    parent.register_module(name, Int8Linear(layer))
    model.full_precision = False
