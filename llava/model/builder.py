"""Loads a LaViDa checkpoint."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from llava.image_processor import SigLipImageProcessor
from llava.model.config_file import read_config
from llava.model.device import find_device
from llava.model.finite import check_finite
from llava.model.hub import quiet_loading, resolve_directory
from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.model.language_model.lavida_config import LavidaConfig, check_special_ids
from llava.model.language_model.registry import BACKBONES
from llava.model.multimodal_encoder.builder import vision_directory
from llava.model.weight_files import read_shirg_x, weight_files
from llava.question import PromptIds, special_ids_of

logger = logging.getLogger("llava")

Loaded = tuple[PreTrainedTokenizerBase, LavidaForMaskedDiffusion, SigLipImageProcessor, int]

_IDLE_OPTIONS = ("attn_implementation", "multimodal", "resize_embeddings", "customized_config")
"""What LaViDa's callers pass along; attention is always fused, and embeddings are never resized."""
_TOWER = "model.vision_tower.vision_tower."


def load_pretrained_model(
    model_path: str | Path,
    model_base: str | None = None,
    model_name: str | None = None,
    load_8bit: bool = False,
    load_4bit: bool = False,
    device_map: str | torch.device | dict[str, Any] = "auto",
    torch_dtype: str | torch.dtype | None = None,
    vision_kwargs: dict[str, Any] | None = None,
    revision: str | None = None,
    **kwargs: Any,
) -> Loaded:
    """(tokenizer, model, image_processor, context_len) of a checkpoint in LaViDa's format.

    Args:
        model_path: a directory, or a hub id (safetensors and text files are fetched, never code).
        model_base: not used by full checkpoints; must be None.
        model_name: accepted for LaViDa's callers; nothing depends on it.
        device_map: ``auto`` (the first GPU if there is one, else the CPU), or a device.
        torch_dtype: as torch dtype or its name; None or ``auto`` keeps the checkpoint's, or takes float32 on a CPU
            that has no arithmetic in its 16 bits.
        vision_kwargs: entries of the config to override (``mm_vision_tower``, ...), and ``keep_all_layers`` for the
            vision layers that LaViDa removes.
        revision: branch, tag or commit on the hub.

    Raises:
        FileNotFoundError: if there is no such checkpoint, or parts of it are missing.
        ValueError: if it is not a LaViDa checkpoint, its tensors do not fit, or an option does not exist.
    """
    if model_base is not None:
        raise ValueError(f"model_base={model_base!r} is not supported; merge the adapter and load the full checkpoint")
    if load_8bit or load_4bit:
        raise ValueError("load_8bit and load_4bit are not supported; use torch_dtype='bfloat16'")
    for name in _IDLE_OPTIONS:
        kwargs.pop(name, None)
    overrides = {**(kwargs.pop("overwrite_config", None) or {}), **(vision_kwargs or {})}
    if kwargs:
        raise ValueError(f"load_pretrained_model does not take {', '.join(sorted(kwargs))}")
    directory = resolve_directory(model_path, revision=revision)
    config = read_config(directory, overrides)
    device = find_device(device_map)
    files = weight_files(directory)
    dtype = _dtype(torch_dtype, device, files)
    with quiet_loading():
        tokenizer = load_tokenizer(directory)
        model, info = (
            BACKBONES[config.model_type]
            .resolve()
            .from_pretrained(
                directory,
                config=config,
                dtype=dtype,
                device_map={"": device},
                output_loading_info=True,
                use_safetensors=True,
                local_files_only=True,
                ignore_mismatched_sizes=True,
            )
        )
    settle_loaded(model, info, directory, files, tokenizer)
    return tokenizer, model.eval(), model.get_vision_tower().image_processor, config.max_sequence_length


def settle_loaded(
    model: LavidaForMaskedDiffusion,
    info: dict[str, Any],
    directory: Path,
    files: Sequence[Path],
    tokenizer: PreTrainedTokenizerBase | None,
) -> None:
    """What transformers' loading leaves to be done: the tower's missing layers, checks of all tensors, SHIRG-X's
    weights, and special ids, which without a tokenizer are those of ``config.json``.

    Args:
        info: transformers' loading report.
        files: the safetensors files that were read.

    Raises:
        FileNotFoundError: if the tower lacks layers that nobody has.
        ValueError: if tensors or special ids do not fit.
    """
    _complete_tower(model, info)
    _refuse_wrong_tensors(directory, info)
    check_finite(model.named_parameters(), str(directory))
    model.kept_shirg_x = read_shirg_x(files)
    if tokenizer is None:
        check_special_ids(model.config)
    else:
        _take_special_ids(model, tokenizer, directory)


def load_tokenizer(directory: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint directory; no code of the checkpoint runs.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is broken.
    """
    if not (directory / "tokenizer.json").is_file():
        raise FileNotFoundError(f"{directory} holds no tokenizer.json; copy the tokenizer's files beside the weights")
    try:
        return AutoTokenizer.from_pretrained(directory, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exceptions
        raise ValueError(f"the tokenizer in {directory} cannot be read: {' '.join(str(error).split())}") from error


def _dtype(name: str | torch.dtype | None, device: torch.device, files: Sequence[Path]) -> str | torch.dtype:
    if name is None or name == "auto":
        return _own_dtype(device, files)
    dtype = getattr(torch, name, None) if isinstance(name, str) else name
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"torch_dtype {name!r} does not exist; use float32, bfloat16 or float16")
    return dtype


_INSTRUCTIONS = {
    "BF16": ("avx512_bf16", "amx_bf16", "bf16"),
    "F16": ("avx512_fp16", "amx_fp16", "fp16_arith"),
}
"""By safetensors' name of a precision: what CPUs that compute in it call that (x86, x86 with matrix units, ARM)."""


def _own_dtype(device: torch.device, files: Sequence[Path]) -> str | torch.dtype:
    """The checkpoint's precision; float32 on a CPU that would take every single product through float32 anyway."""
    if device.type == "cpu":
        with safe_open(files[0], framework="pt") as tensors:
            held = {tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118 (no mapping)
        able = torch.cpu.get_capabilities()
        for precision in sorted(held & _INSTRUCTIONS.keys()):
            if not any(able.get(name) for name in _INSTRUCTIONS[precision]):
                logger.info("this CPU has no %s arithmetic, so the weights are kept in float32", precision)
                return torch.float32
    return "auto"


def _complete_tower(model: LavidaForMaskedDiffusion, info: dict[str, Any]) -> None:
    """Read the vision layers that LaViDa's checkpoints leave out from the SigLIP repository."""
    tower = model.get_vision_tower()
    if not tower.keep_all_layers:
        return
    last = f"{_TOWER}vision_model.encoder.layers.{tower.config.num_hidden_layers - 1}."
    missing = {key for key in info["missing_keys"] if key.startswith((last, f"{_TOWER}vision_model.head."))}
    if not missing:
        return
    directory = vision_directory(model.config)
    found: dict[str, torch.Tensor] = {}
    for file in sorted(directory.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            held = {f"{_TOWER}{key}": key for key in tensors.keys()}  # noqa: SIM118 (safe_open is no mapping)
            found |= {key: tensors.get_tensor(held[key]) for key in missing & held.keys()}
    if absent := sorted(missing - found.keys()):
        raise FileNotFoundError(
            f"keep_all_layers needs {len(absent)} tensors that neither the checkpoint nor {directory} holds, such as "
            f"{absent[0].removeprefix(_TOWER)}; point mm_vision_tower at the full SigLIP repository"
        )
    model.load_state_dict(found, strict=False)
    info["missing_keys"] = set(info["missing_keys"]) - missing
    logger.info("read %d scoring tensors from %s", len(found), directory)


def _refuse_wrong_tensors(directory: Path, info: dict[str, Any]) -> None:
    problems = []
    for kind in ("missing", "unexpected", "mismatched"):
        if keys := sorted(str(key) for key in info[f"{kind}_keys"]):
            listed = ", ".join(keys[:20]) + (f" and {len(keys) - 20} more" if len(keys) > 20 else "")
            problems.append(f"{len(keys)} {kind} ({listed})")
    if problems:
        raise ValueError(f"the tensors in {directory} do not fit its config.json: {'; '.join(problems)}")


def fill_special_ids(config: LavidaConfig, tokenizer: PreTrainedTokenizerBase, directory: Path) -> None:
    """Take special ids that ``config.json`` does not give from the tokenizer, and drop a default that cannot exist."""
    given = json.loads((directory / "config.json").read_text())
    for name, value in special_ids_of(tokenizer, config.special_words).items():
        if name not in given:
            setattr(config, name, value)
    rows = config.vocab_rows
    if "infill_token_id" not in given and (config.infill_token_id or 0) >= rows:
        config.infill_token_id = None


def _take_special_ids(model: LavidaForMaskedDiffusion, tokenizer: PreTrainedTokenizerBase, directory: Path) -> None:
    """Settle the ids a loaded model works with, and refuse ids without embedding."""
    fill_special_ids(model.config, tokenizer, directory)
    check_special_ids(model.config)
    rows = model.config.vocab_rows
    if len(tokenizer) > rows:
        raise ValueError(
            f"the tokenizer in {directory} has {len(tokenizer)} tokens but the embedding only {rows} rows; "
            "use the tokenizer that came with the checkpoint"
        )
    model.prompt_ids = PromptIds.from_config(model.config).with_tokenizer(tokenizer)
