"""What the tests of adapters share: a model after some training, and ways to spoil what was saved of it."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from lavida_shirg_integration import apply_shirg_x
from llava.model.builder import load_pretrained_model
from llava.tuning.adapter import (
    SETTINGS_FILE,
    WEIGHTS_FILE,
)
from llava.tuning.config import TrainableConfig
from llava.tuning.parameters import prepare_trainable
from shirg.config import ShirgXConfig
from tests.integration_helpers import IMAGES, SMALL, ask, views_and_sizes

RANK, ALPHA = 3, 0.1
"""Numbers whose product divided by the rank is not quite alpha again."""
LEARNED = SMALL.replace(similarity="learned", budget=SMALL.budgets[0])


def fresh(checkpoint: Path, dtype: str = "float32"):
    return load_pretrained_model(checkpoint, device_map="cpu", torch_dtype=dtype)


def train(model, config: TrainableConfig, shirg: ShirgXConfig | None = LEARNED):
    """As after some training: everything that trains has moved."""
    handle = None if shirg is None else apply_shirg_x(model, shirg, weights=False)
    prepare_trainable(model, config)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return handle


@torch.no_grad()
def logits(loaded, model) -> torch.Tensor:
    views, sizes = views_and_sizes(loaded, model, IMAGES[:1])
    return model(ask(loaded, "What is the total?")[None], images=views, image_sizes=sizes).logits


def edit_settings(directory: Path, edit: Callable[[dict], object]) -> None:
    path = directory / SETTINGS_FILE
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(values))


def edit_weights(directory: Path, edit: Callable[[dict], object], name: str = WEIGHTS_FILE) -> None:
    tensors = load_file(directory / name)
    edit(tensors)
    save_file(tensors, directory / name)
