"""Builds the projector from the vision width to the language width."""

import re

from torch import nn
from transformers import PretrainedConfig


def build_vision_projector(config: PretrainedConfig) -> nn.Module:
    """The projector that ``config.mm_projector_type`` names: ``linear``, or ``mlpNx_gelu`` as in LLaVA.

    LaViDa uses ``mlp2x_gelu``: a Sequential whose layers 0 and 2 are the checkpoint's ``mm_projector.0`` and ``.2``.

    Raises:
        ValueError: for a type that does not exist.
    """
    kind = config.mm_projector_type
    layers: list[nn.Module] = [nn.Linear(config.mm_hidden_size, config.hidden_size)]
    if kind == "linear":
        return layers[0]
    match = re.fullmatch(r"mlp([1-9])x_gelu", kind)
    if match is None:
        raise ValueError(f"mm_projector_type {kind!r} does not exist; use linear or mlp2x_gelu")
    for _ in range(int(match[1]) - 1):
        layers += [nn.GELU(), nn.Linear(config.hidden_size, config.hidden_size)]
    return nn.Sequential(*layers)
