"""What a checkpoint is, from its config and the headers of its weight files alone."""

import copy
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import get_safetensors_metadata
from huggingface_hub.errors import NotASafetensorsRepoError, SafetensorsParsingError
from safetensors import safe_open
from transformers import SiglipVisionConfig

from lavida_shirg_integration import ShirgX
from llava.inference.checkpoint import Checkpoint
from llava.model.anyres import stock_tokens
from llava.model.builder import fill_special_ids, load_tokenizer
from llava.model.language_model.lavida_config import LavidaConfig
from llava.model.multimodal_encoder.builder import vision_config
from llava.model.multimodal_encoder.siglip_encoder import features_width
from llava.model.weight_files import weight_files
from llava.speed.floors import cache_elements, prefill_flops, vision_flops
from llava.tuning.fingerprint import digest_shapes
from llava.tuning.settings import AdapterSettings
from shirg.config import ShirgXConfig

PARTS = {
    "vision tower": "model.vision_tower.",
    "projector": "model.mm_projector.",
    "embeddings": None,
    "output head": None,
    "language model": "model.",
    "newline token": "model.image_newline",
    "SHIRG-X": "shirg_x.",
    "other": "",
}
"""Beginnings of tensor names, of which the longest that fits decides; the backbone knows those that are None."""

SPECIAL_IDS = (
    "mask_token_id",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "start_header_id",
    "end_header_id",
    "eot_token_id",
)
SIZES = {"landscape": (640, 480), "square": (768, 768)}
"""Images, (width, height), whose tokens are counted."""
TILINGS = ((1, 1), (2, 1), (2, 2), (3, 2))
"""Rows and columns of views of a page whose cost is told."""
_BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32}


@dataclass(frozen=True, kw_only=True)
class TensorHeader:
    """A stored tensor without its numbers."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def parameters(self) -> int:
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        return self.parameters * _BITS.get(self.dtype, 8) // 8


def read_headers(checkpoint: Checkpoint) -> dict[str, TensorHeader]:
    """Name, type and shape of every stored tensor; of a hub repository only the headers are fetched."""
    try:
        files = weight_files(_directory(checkpoint.config))
    except FileNotFoundError:
        if Path(checkpoint.model).expanduser().is_dir():
            raise
        return _remote_headers(checkpoint.model, checkpoint.revision)
    return _stored_headers(files)


def _stored_headers(files: Iterable[Path]) -> dict[str, TensorHeader]:
    headers = {}
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (safe_open is no mapping)
                stored = tensors.get_slice(name)
                headers[name] = TensorHeader(dtype=stored.get_dtype(), shape=tuple(stored.get_shape()))
    return headers


def _remote_headers(model: str, revision: str | None) -> dict[str, TensorHeader]:
    try:
        metadata = get_safetensors_metadata(model, revision=revision)
    except (NotASafetensorsRepoError, SafetensorsParsingError) as error:
        raise ValueError(f"{model} on the hub holds no readable safetensors files: {error}") from error
    return {
        name: TensorHeader(dtype=tensor.dtype, shape=tuple(tensor.shape))
        for file in metadata.files_metadata.values()
        for name, tensor in file.tensors.items()
    }


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """The facts as plain values.

    Raises:
        FileNotFoundError, ValueError: if the adapter belongs to another checkpoint, or is broken.
    """
    headers = read_headers(checkpoint)
    parts, num_bytes, dtypes = Counter[str](), Counter[str](), Counter[str]()
    beginnings = [(given or checkpoint.config.tensor_names[part], part) for part, given in PARTS.items() if given != ""]
    for name, header in headers.items():
        fitting = [(len(beginning), part) for beginning, part in beginnings if name.startswith(beginning)]
        part = max(fitting)[1] if fitting else "other"
        parts[part] += header.parameters
        num_bytes[part] += header.num_bytes
        dtypes[header.dtype] += header.parameters
    config, adapter, shirg = checkpoint.config, checkpoint.adapter, checkpoint.shirg
    vision = vision_config(config)
    held = None if adapter is None else _describe_adapter(adapter, checkpoint.model, headers, vision)
    brings_shirg_x = "SHIRG-X" in parts or (adapter is not None and adapter.shirg_x is not None)
    return {
        "model": checkpoint.model,
        "untrained": bool(getattr(config, "untrained", False)),
        "dtypes": dict(dtypes.most_common()),
        "parameters": {part: parts[part] for part in PARTS if part in parts},
        "bytes": {part: num_bytes[part] for part in PARTS if part in parts},
        "total_parameters": parts.total(),
        "total_bytes": num_bytes.total(),
        "adapter": held,
        "fresh_shirg_x_parameters": 0 if brings_shirg_x else _fresh_parameters(config, vision, shirg),
        "language": {
            "width": config.hidden_size,
            "layers": config.num_hidden_layers,
            "heads": config.num_attention_heads,
            "key_value_heads": config.key_value_heads,
            "mlp": config.intermediate_size,
            "cache_bytes_per_position": 2 * cache_elements(config, 1),
            "vocabulary": config.vocab_size,
            "context": config.max_sequence_length,
        },
        "vision": {
            "width": vision.hidden_size,
            "layers": vision.num_hidden_layers,
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
        },
        "special_ids": _special_ids(config),
        "image_tokens": {
            **{name: stock_tokens(config, vision, size) for name, size in SIZES.items()},
            "shirg_x": {str(budget): budget + shirg.scaffold * shirg.scaffold_tokens for budget in shirg.budgets},
        },
        "tiles": {"x".join(map(str, tiling)): _tiles(config, vision, shirg, tiling) for tiling in TILINGS},
    }


def _describe_adapter(
    adapter: AdapterSettings, model: str, headers: Mapping[str, TensorHeader], vision: SiglipVisionConfig
) -> dict[str, Any]:
    shapes = {name: header.shape for name, header in headers.items()}
    digest = digest_shapes(shapes, vision_layers=vision.num_hidden_layers)
    adapter.base.check_shapes(digest, model, f"the adapter {adapter.directory}")
    tensors = _stored_headers(adapter.weight_files())
    return {
        "directory": str(adapter.directory),
        "base": adapter.base.name,
        "scope": adapter.trainable.scope,
        "parameters": sum(header.parameters for header in tensors.values()),
        "bytes": sum(header.num_bytes for header in tensors.values()),
    }


def _tiles(
    config: LavidaConfig, vision: SiglipVisionConfig, shirg: ShirgXConfig, tiling: tuple[int, int]
) -> dict[str, float]:
    """What a page of so many views costs: candidates, and multiplications and additions of the vision tower and of the
    language model's pass over the image tokens of the largest budget, which no tiles change."""
    layer = config.mm_vision_select_layer
    run = vision.num_hidden_layers + 1 + layer if layer < 0 else layer
    views, tokens = math.prod(tiling), shirg.budgets[-1] + shirg.scaffold * shirg.scaffold_tokens
    return {
        "candidates": views * shirg.grid**2,
        "tower_flops": vision_flops(vision, run, shirg.grid**2, views),
        "language_flops": prefill_flops(config, tokens),
    }


def _directory(config: LavidaConfig) -> Path:
    return Path(config.name_or_path or ".")


def _special_ids(config: LavidaConfig) -> dict[str, int | None]:
    """As loading settles them: the config's, and the tokenizer's where the config gives none."""
    settled = copy.deepcopy(config)
    fill_special_ids(settled, load_tokenizer(_directory(config)), _directory(config))
    return {name: getattr(settled, name) for name in SPECIAL_IDS}


def _fresh_parameters(config: LavidaConfig, vision: SiglipVisionConfig, shirg: ShirgXConfig) -> int:
    with torch.device("meta"):
        module = ShirgX(shirg, vision_dim=features_width(vision), word_dim=config.hidden_size)
    return sum(parameter.numel() for parameter in module.parameters())
