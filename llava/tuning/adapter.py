"""Adapters: what a training run changed, small enough to travel without the checkpoint it belongs to.

A directory holds ``adapter.json`` (format version, settings of training and of SHIRG-X, and what the base is),
``adapter.safetensors`` (LoRA, and the projector where it was trained in full), and SHIRG-X's weights in their own
format. Nothing is pickled, and reading or merging an adapter needs no peft.
"""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

import shirg.weights as shirg_weights
from lavida_shirg_integration import ShirgXHandle, apply_shirg_x
from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.tuning.config import TrainableConfig
from llava.tuning.fingerprint import Fingerprint
from llava.tuning.parameters import lora_layers, lora_ranks, prepare_trainable, shirg_applied
from llava.tuning.settings import FORMAT_VERSION, SETTINGS_FILE, WEIGHTS_FILE, AdapterSettings
from shirg.config import ShirgXConfig

_SHIRG = "shirg_x."
_PROJECTOR = "model.mm_projector."


def save_adapter(
    model: LavidaForMaskedDiffusion,
    directory: str | Path,
    config: TrainableConfig,
    *,
    state_dict: Mapping[str, Tensor] | None = None,
    base: str | None = None,
    shirg_x: ShirgXConfig | None = None,
) -> None:
    """Write what training changes of a model, with SHIRG-X's weights and settings if it is applied.

    Args:
        model: as ``prepare_trainable`` left it, at any point of its training.
        config: what it was prepared with.
        state_dict: its gathered weights, where ZeRO-3 has spread the model's own over processes.
        base: the name of the checkpoint underneath; the model's own when not given.
        shirg_x: settings to be used with the adapter, where training itself ran with others, such as fixed budgets.

    Raises:
        ValueError: if everything was trained, the model was not prepared so, or its weights are spread.
    """
    if config.scope == "everything":
        raise ValueError("scope 'everything' changes the whole model; write it with model.save_pretrained")
    if state_dict is None and any(hasattr(parameter, "ds_id") for parameter in model.parameters()):
        raise ValueError("the weights are spread over processes; gather them, and pass them as state_dict")
    live = model.state_dict() if state_dict is None else state_dict
    state = {_plain(name): tensor for name, tensor in live.items()}
    applied = shirg_applied(model)
    shirg_settings = model.config.shirg_x if shirg_x is None else shirg_x.to_dict()
    ranks = lora_ranks(model, config, coordinates=applied and model.config.shirg_x["coordinates"])
    expected = _expected(model, config, ranks)
    _check_fit("the model's", expected, {name: state[name] for name in state if _is_held(name, config)})
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    # Taken away first and written last, so that a directory that was cut short is no adapter.
    (directory / SETTINGS_FILE).unlink(missing_ok=True)
    _write_tensors(directory / WEIGHTS_FILE, {name: state[name] for name in expected})
    if applied:
        own = {name.removeprefix(_SHIRG): state[name] for name in _shirg_names(state)}
        _write_tensors(directory / shirg_weights.WEIGHTS_FILE, own)
        settings = {"format_version": shirg_weights.FORMAT_VERSION, "config": shirg_settings}
        _write_json(directory / shirg_weights.SETTINGS_FILE, settings)
    fingerprint = Fingerprint.of(
        {name: tensor for name, tensor in state.items() if ".lora_" not in name},
        vision_layers=model.get_vision_tower().config.num_hidden_layers,
        trained=_trained_in_full(model, config),
        name=base or str(model.config.name_or_path or ""),
    )
    _write_json(
        directory / SETTINGS_FILE,
        {
            "format_version": FORMAT_VERSION,
            "base": vars(fingerprint),
            "trainable": config.to_dict(),
            "shirg_x": shirg_settings if applied else None,
        },
    )


def load_adapter(
    model: LavidaForMaskedDiffusion,
    directory: str | Path,
    *,
    merge: bool = False,
    shirg_x: ShirgXConfig | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> ShirgXHandle | None:
    """Put an adapter on the checkpoint it was trained on, with SHIRG-X as it was trained.

    Unmerged, the model is as ``prepare_trainable`` leaves it and gives the very outputs of the run that was saved;
    training can go on. Merged, LoRA is added into the plain weights, and nothing of it is left to slow inference; the
    sums are taken in float32 and rounded to the model's precision.

    Returns SHIRG-X's handle, None for an adapter without it. Removing the handle takes away SHIRG-X and its
    coordinates only: what the adapter changed in the projector and the language model stays.

    Args:
        model: as ``load_pretrained_model`` gives it.
        merge: add LoRA into the weights; needs no peft.
        shirg_x: settings to run with instead of the adapter's, such as another budget.
        tokenizer: as for ``apply_shirg_x``.

    Raises:
        FileNotFoundError: if there is no such adapter, or a part of it is missing.
        ValueError: if it is broken, belongs to another base, or its tensors do not fit its settings.
        RuntimeError: if the model has SHIRG-X or LoRA already.
    """
    adapter = AdapterSettings.read(directory)
    if merge:
        return merge_into(model, adapter, shirg_x=shirg_x, tokenizer=tokenizer)
    with _put_on(model, adapter, shirg_x, tokenizer) as (handle, _):
        prepare_trainable(model, adapter.trainable)
        load_adapter_weights(model, directory)
    return handle


def merge_into(
    model: LavidaForMaskedDiffusion,
    adapter: AdapterSettings,
    *,
    shirg_x: ShirgXConfig | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> ShirgXHandle | None:
    """As ``load_adapter`` with ``merge``, of an adapter whose settings have been read."""
    with _put_on(model, adapter, shirg_x, tokenizer) as (handle, tensors):
        _merge_tensors(model, tensors, adapter.trainable)
    return handle


@contextmanager
def _put_on(
    model: LavidaForMaskedDiffusion,
    adapter: AdapterSettings,
    shirg_x: ShirgXConfig | None,
    tokenizer: PreTrainedTokenizerBase | None,
) -> Iterator[tuple[ShirgXHandle | None, dict[str, Tensor]]]:
    """SHIRG-X on the model, taken off again where the body fails, and the adapter's tensors, which fit them both."""
    if lora_layers(model):
        raise RuntimeError("the model has LoRA layers already; merge_adapter them first, or load the model anew")
    chosen = adapter.choose_shirg(shirg_x)
    tensors = adapter.read_tensors()
    _check_base(model, adapter)
    handle = None
    if chosen is not None:
        weights = None if adapter.shirg_x is None else adapter.directory
        handle = apply_shirg_x(model, chosen, weights=weights, tokenizer=tokenizer)
    try:
        # By the adapter's own settings of SHIRG-X: the caller's may switch its coordinates off.
        coordinates = adapter.shirg_x is not None and adapter.shirg_x.coordinates
        ranks = lora_ranks(model, adapter.trainable, coordinates=coordinates)
        _check_fit("the adapter's", _expected(model, adapter.trainable, ranks), tensors)
        yield handle, tensors
    except BaseException:
        if handle is not None:
            handle.remove()
        raise


@torch.no_grad()
def load_adapter_weights(model: LavidaForMaskedDiffusion, directory: str | Path) -> None:
    """Read an adapter's tensors into a model that ``prepare_trainable`` has prepared the same way: to resume a run.

    Raises:
        FileNotFoundError, ValueError: as ``load_adapter``; also if the model was prepared in another way.
    """
    adapter = AdapterSettings.read(directory)
    _check_base(model, adapter)
    for name, layer in lora_layers(model).items():
        # The scale was a product of alpha and rank divided by the rank, which rounds.
        if not math.isclose(layer.scaling["default"], adapter.trainable.alpha_per_rank, rel_tol=1e-9):
            raise ValueError(
                f"{name} was prepared with another alpha_per_rank than the adapter's "
                f"{adapter.trainable.alpha_per_rank}; prepare the model with the adapter's settings"
            )
    tensors = adapter.read_tensors()
    if adapter.shirg_x is not None:
        own = shirg_weights.read_weights(adapter.directory)
        tensors |= {f"{_SHIRG}{name}": tensor for name, tensor in own.items()}
    state = {_plain(name): tensor for name, tensor in model.state_dict().items()}
    wanted = {name: tuple(state[name].shape) for name in state if _is_held(name, adapter.trainable)}
    wanted |= {name: tuple(state[name].shape) for name in _shirg_names(state)}
    _check_fit("the adapter's", wanted, tensors)
    for name, tensor in tensors.items():
        state[name].copy_(tensor)


@torch.no_grad()
def merge_adapter(model: nn.Module) -> int:
    """Add all LoRA into the plain weights in place, in float32, and take its layers out; gives their number.

    Afterwards the model has the released names again: ``model.save_pretrained`` writes a full checkpoint that
    ``load_pretrained_model`` and ``apply_shirg_x`` read without peft. What was merged cannot be taken out again, and
    removing SHIRG-X afterwards leaves it in the projector.
    """
    layers = lora_layers(model)
    for name, layer in layers.items():
        base = layer.base_layer
        for adapter, scale in layer.scaling.items():
            _add_product(base, layer.lora_A[adapter].weight, layer.lora_B[adapter].weight, scale)
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, base)
    if layers:
        vars(model).pop("peft_config", None)
    return len(layers)


def _merge_tensors(model: LavidaForMaskedDiffusion, tensors: Mapping[str, Tensor], config: TrainableConfig) -> None:
    for name, tensor in tensors.items():
        module, _, kind = name.partition(".lora_")
        if kind == "A.weight":
            second = tensors[f"{module}.lora_B.weight"]
            _add_product(model.get_submodule(module), tensor, second, config.alpha_per_rank)
        elif not kind:
            model.get_parameter(name).data.copy_(tensor)


def _add_product(linear: nn.Module, first: Tensor, second: Tensor, scale: float) -> None:
    weight = linear.weight
    assert isinstance(weight, Tensor)
    change = scale * (second.to(weight.device).float() @ first.to(weight.device).float())
    weight.data.copy_(weight.data.float() + change)


def _expected(
    model: LavidaForMaskedDiffusion, config: TrainableConfig, ranks: Mapping[str, int]
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of ``adapter.safetensors`` for a model and what was trained of it, by LoRA of these ranks."""
    whole = {name: model.get_parameter(name) for name in _trained_in_full(model, config)}
    shapes = {name: tuple(getattr(parameter, "ds_shape", parameter.shape)) for name, parameter in whole.items()}
    for name, rank in ranks.items():
        layer = model.get_submodule(name)
        linear = getattr(layer, "base_layer", layer)
        shapes[f"{name}.lora_A.weight"] = (rank, linear.in_features)
        shapes[f"{name}.lora_B.weight"] = (linear.out_features, rank)
    return shapes


def _trained_in_full(model: nn.Module, config: TrainableConfig) -> list[str]:
    """Tensors of the checkpoint underneath that training has changed."""
    names = (name for name, _ in model.named_parameters() if name.startswith(_PROJECTOR))
    return list(names) if config.scope == "projector" else []


def _plain(name: str) -> str:
    """A tensor's name without what peft adds."""
    name = name.replace(".base_layer.", ".")
    return name.replace(".lora_A.default.", ".lora_A.").replace(".lora_B.default.", ".lora_B.")


def _is_held(name: str, config: TrainableConfig) -> bool:
    """Whether a tensor of the model belongs into ``adapter.safetensors``."""
    return ".lora_" in name or (config.scope == "projector" and name.startswith(_PROJECTOR))


def _shirg_names(state: Mapping[str, Tensor]) -> Iterator[str]:
    # SigLIP's text tower is read from its own repository.
    for name in state:
        if name.startswith(_SHIRG) and ".lora_" not in name and not name.startswith(f"{_SHIRG}text_tower."):
            yield name


def _check_base(model: LavidaForMaskedDiffusion, adapter: AdapterSettings) -> None:
    state = {_plain(name): tensor for name, tensor in model.state_dict().items() if ".lora_" not in name}
    found = Fingerprint.of(
        state,
        vision_layers=model.get_vision_tower().config.num_hidden_layers,
        trained=_trained_in_full(model, adapter.trainable),
        name=str(model.config.name_or_path or ""),
    )
    adapter.base.check(found, f"the adapter {adapter.directory}")


def _check_fit(whose: str, wanted: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor]) -> None:
    missing, unexpected = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    reshaped = sorted(name for name in wanted.keys() & tensors.keys() if tuple(tensors[name].shape) != wanted[name])
    problems = [
        f"{len(names)} {kind} ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"
        for kind, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
        if names
    ]
    if problems:
        raise ValueError(f"{whose} tensors do not fit its training settings: {'; '.join(problems)}")


def _write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    save_file(
        {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}, file, metadata={"format": "pt"}
    )


def _write_json(file: Path, values: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
