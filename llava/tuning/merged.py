"""A checkpoint that needs no adapter: LoRA added into the weights, SHIRG-X's weights beside them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lavida_shirg_integration import apply_shirg_x
from llava.model.builder import load_pretrained_model
from llava.tuning.adapter import load_adapter


def write_merged(
    model: str | Path, adapter: str | Path | None, out: Path, *, dtype: torch.dtype, entries: Mapping[str, Any]
) -> None:
    """Load a checkpoint and merge an adapter in float32, round once, and write it whole.

    Args:
        adapter: None for the checkpoint as it is, in another precision.
        entries: of ``config.json``, to be set.

    Raises:
        FileNotFoundError, ValueError: as ``load_pretrained_model`` and ``load_adapter``.
    """
    tokenizer, loaded, _, _ = load_pretrained_model(model, device_map="cpu", torch_dtype="float32")
    if adapter is not None:
        load_adapter(loaded, adapter, merge=True, tokenizer=tokenizer)
    elif loaded.config.shirg_x:
        apply_shirg_x(loaded, tokenizer=tokenizer)
    for name, value in entries.items():
        setattr(loaded.config, name, value)
    loaded.to(dtype).save_pretrained(out)
    tokenizer.save_pretrained(out)
