"""What the tests of backbones other than LLaDA share: small checkpoints of them, registered for the time of a test."""

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch

from llava.model.builder import load_tokenizer
from llava.model.language_model.lavida_config import LavidaConfig
from llava.model.language_model.registry import BACKBONES
from shirg.lazy import Lazy
from tests.cli_helpers import quick_checkpoint
from tests.model.made_up_backbone import LlavaMadeUpConfig, LlavaMadeUpForMaskedDiffusion

OTHERS = ("llava_dream", "llava_made_up")
MADE_UP = Lazy("tests.model.made_up_backbone", "LlavaMadeUpForMaskedDiffusion")
READERS = ("llava.model.config_file", "llava.model.builder", "llava.speed.plan")
"""Modules that look into the registry."""


def register(patched: pytest.MonkeyPatch) -> None:
    """The entry that docs/backbones.md asks for, for as long as the patch lasts."""
    known = MappingProxyType({**BACKBONES, "llava_made_up": MADE_UP})
    for module in READERS:
        patched.setattr(f"{module}.BACKBONES", known)


def make_checkpoint(name: str, dream: Path, out: Path) -> Path:
    """A directory of one of ``OTHERS``, small work for SHIRG-X; the made-up one has Dream's tower and tokenizer."""
    directory = quick_checkpoint(dream, out / name)
    if name == "llava_dream":
        return directory
    vision = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4}
    settings: dict[str, Any] = {"mm_hidden_size": 48, "mm_vision_tower": "../siglip-tiny-patch14-384"}
    torch.manual_seed(7)
    BACKBONES["llava_dream"].resolve()  # transformers asks for the kind that the folder names
    tokenizer = load_tokenizer(directory)
    settings["end_header_id"] = tokenizer.convert_tokens_to_ids(":")
    config = LlavaMadeUpConfig(mm_vision_config={**vision, "image_size": 384, "patch_size": 14}, **settings)
    model = LlavaMadeUpForMaskedDiffusion(config)
    model.config.shirg_x = config_of(directory)["shirg_x"]
    model.config.unsure_below = 0.0
    target = directory.parent / "made-up"
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target


def config_of(directory: Path) -> dict[str, Any]:
    return dict(json.loads((directory / "config.json").read_text()))


def lora_names(config: LavidaConfig) -> set[str]:
    """What LoRA on all attention projections adapts, by the names of the checkpoints."""
    if config.model_type == "llava_dream":
        names = [f"model.layers.{{}}.self_attn.{name}_proj" for name in "qkvo"]
    else:
        names = [f"model.stack.{{}}.{name}" for name in ("ask", "look", "say", "mix")]
    return {name.format(layer) for name in names for layer in range(config.num_hidden_layers)}
