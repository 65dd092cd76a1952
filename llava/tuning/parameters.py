"""What trains: which parameters of a model take gradients, through LoRA or in full, and how fast each group learns.

LoRA (arXiv 2106.09685) comes from peft, which is imported only when a scope asks for it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.model.language_model.transformer import TransformerBlock
from llava.tuning.config import GROUPS, TrainableConfig

_COORD_LINEAR = "shirg_x.coordinates.coord_linear"


@dataclass(frozen=True, kw_only=True)
class TrainableReport:
    """What ``prepare_trainable`` made trainable, in parameters."""

    groups: Mapping[str, int]
    """Trainable parameters by group."""
    lora: Mapping[str, int]
    """Those of them that are LoRA's, by the module it was put on."""
    total: int
    """All parameters of the model, trainable or not."""

    @property
    def trainable(self) -> int:
        return sum(self.groups.values())

    @property
    def share(self) -> float:
        """The trainable part of all parameters, in [0, 1]."""
        return self.trainable / self.total


def prepare_trainable(model: LavidaForMaskedDiffusion, config: TrainableConfig) -> TrainableReport:
    """Freeze the model, then make trainable in place what the scope names; LoRA starts without effect.

    What no loss reaches stays frozen, since data-parallel training waits for the gradient of every trainable tensor:
    vision layers behind the selected one, the newline token while SHIRG-X is applied, coordinates that are off.
    LoRA draws its first weights from the global generator.

    With ``trainable_dtype`` the parts that train change their precision: SHIRG-X's weights, LoRA, and modules trained
    in full. For ``projector`` and ``everything`` on a model of another precision, train under autocast.

    Raises:
        ValueError: if the scope needs SHIRG-X and it is not applied, a layer to be adapted does not exist, or one of
            ``groups`` has nothing that the scope trains.
        RuntimeError: if LoRA is in the model already.
        ModuleNotFoundError: if the scope needs peft and it is not installed.
    """
    if lora_layers(model):
        raise RuntimeError("the model has LoRA layers already; merge_adapter them first, or load the model anew")
    if config.uses_lora and not shirg_applied(model):
        raise ValueError(f"scope {config.scope!r} trains SHIRG-X, which is not applied; call apply_shirg_x first")
    with_coordinates = shirg_applied(model) and bool(model.config.shirg_x["coordinates"])
    # Before anything is changed, so that a wrong setting leaves the model as it was.
    ranks = lora_ranks(model, config, coordinates=with_coordinates)
    names = [name for name, _ in model.named_parameters()]
    full = {name for name in names if _trains_in_full(name, model, config, with_coordinates=with_coordinates)}
    reached = {group_of(name) for name in full} | {group_of(f"{layer}.") for layer in ranks}
    for group in config.groups:
        if group not in reached:
            raise ValueError(f"groups names {group!r}, of which scope {config.scope!r} trains nothing in this model")
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name in full
    if ranks:
        _inject_lora(model, ranks, config)
    if config.trainable_dtype is not None:
        _cast_trainable(model, getattr(torch, config.trainable_dtype))
    lora = {name: sum(num_elements(p) for p in _lora_of(layer)) for name, layer in lora_layers(model).items()}
    total = sum(num_elements(parameter) for parameter in model.parameters())
    return TrainableReport(groups=count_trainable(model), lora=lora, total=total)


def count_trainable(model: nn.Module) -> dict[str, int]:
    """Trainable parameters by group, in the order of ``GROUPS``; groups without any are left out."""
    counts = Counter[str]()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            counts[group_of(name)] += num_elements(parameter)
    return {group: counts[group] for group in GROUPS if group in counts}


def checkpoint_activations(model: LavidaForMaskedDiffusion) -> None:
    """Let the backward pass compute activations again instead of keeping them."""
    # Renamed between the versions of transformers that are supported.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def parameter_groups(model: nn.Module, config: TrainableConfig) -> list[dict[str, Any]]:
    """Every trainable parameter once, in named groups for an optimizer: ``name``, ``params``, ``lr``, ``weight_decay``.

    A group's tensors that must not decay come as a group of their own, named ``..._no_decay``, and so do the hidden
    matrices that Muon moves, ``..._muon``, which have ``muon: True``. The order is that of ``GROUPS``, so that an
    optimizer's state fits when a run is resumed.
    """
    found: dict[str, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            group = group_of(name)
            by_muon = group in config.muon and _is_hidden_matrix(name, parameter)
            suffix = "_muon" if by_muon else "" if _decays(name, parameter) else "_no_decay"
            found.setdefault(group + suffix, []).append(parameter)
    return [
        {
            "name": group + suffix,
            "params": found[group + suffix],
            "lr": config.muon[group] if suffix == "_muon" else config.learning_rate(group),
            "weight_decay": 0.0 if suffix == "_no_decay" else config.weight_decay,
            **({"muon": True} if suffix == "_muon" else {}),
        }
        for group in GROUPS
        for suffix in ("", "_no_decay", "_muon")
        if group + suffix in found
    ]


def group_of(name: str) -> str:
    """The group that a parameter of this name belongs to, also where the model is part of another module."""
    return max(
        (
            (len(place), group)
            for group, places in GROUPS.items()
            for place in places
            if not place or _lies_in(name, place)
        )
    )[1]


def _lies_in(name: str, place: str) -> bool:
    return f".{place}" in f".{name}"


def num_elements(parameter: nn.Parameter) -> int:
    """Elements of the whole parameter, also where ZeRO-3 holds only a part of it here."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def shirg_applied(model: LavidaForMaskedDiffusion) -> bool:
    """Whether SHIRG-X encodes this model's images now."""
    settings = model.config.shirg_x or {}
    return "shirg_x" in model._modules and settings.get("mode", "shirg_x") == "shirg_x"


def lora_ranks(model: LavidaForMaskedDiffusion, config: TrainableConfig, *, coordinates: bool = True) -> dict[str, int]:
    """The full name of every layer that LoRA adapts, and its rank; none where the scope does without.

    Raises:
        ValueError: if one of ``projector_layers`` is no linear layer of this model.
    """
    if not config.uses_lora:
        return {}
    linear = [name.removeprefix("model.") for name, layer in model.named_modules() if _is_linear(layer)]
    known = [name for name in linear if name.startswith("mm_projector")]
    for layer in config.projector_layers:
        if layer not in known:
            raise ValueError(f"projector_layers names {layer!r}, but the projector's layers are {', '.join(known)}")
    ranks = {f"model.{layer}": config.ranks["projector"] for layer in config.projector_layers}
    if coordinates and config.coord == "lora":
        ranks[_COORD_LINEAR] = config.ranks["coordinates"]
    if config.scope == "shirg_x_expanded":
        names = {layer: name for name, layer in model.named_modules()}
        for block in model.get_model().blocks:
            projections = cast(TransformerBlock, block).projections
            ranks |= {names[layer]: config.ranks["language"] for layer in projections}
    return {name: rank for name, rank in ranks.items() if config.trains(group_of(f"{name}."))}


def lora_layers(model: nn.Module) -> dict[str, Any]:
    """peft's LoRA layers by name, told by what they hold: peft itself is not needed."""
    return {name: layer for name, layer in model.named_modules() if hasattr(layer, "lora_A") and _is_linear(layer)}


def _is_linear(layer: nn.Module) -> bool:
    return isinstance(getattr(layer, "base_layer", layer), nn.Linear)


def _lora_of(layer: nn.Module) -> list[nn.Parameter]:
    return [parameter for name, parameter in layer.named_parameters() if "lora_" in name]


def _trains_in_full(
    name: str, model: LavidaForMaskedDiffusion, config: TrainableConfig, *, with_coordinates: bool
) -> bool:
    group = group_of(name)
    if not config.trains(group):
        return False
    if group in ("budget_head", "relevance"):
        return config.scope != "projector" and shirg_applied(model)
    if group == "coordinates":
        through_lora = config.uses_lora and config.coord == "lora" and name.startswith(f"{_COORD_LINEAR}.")
        return config.scope != "projector" and with_coordinates and not through_lora
    if group == "projector":
        return not config.uses_lora
    if config.scope != "everything":
        return False
    if group == "newline":
        return not shirg_applied(model)
    return group == "language" or (group == "tower" and _is_run(name, model))


def _is_run(name: str, model: LavidaForMaskedDiffusion) -> bool:
    """Whether a parameter of the tower takes part in the features that the projector sees."""
    place = name.removeprefix("model.vision_tower.vision_tower.vision_model.")
    if place.startswith("encoder.layers."):
        return int(place.split(".")[2]) < model.get_vision_tower().num_layers_run
    return place.startswith("embeddings.")


def lora_config(ranks: Mapping[str, int], config: TrainableConfig) -> Any:
    """peft's settings of LoRA on these layers, each with its own rank.

    Raises:
        ModuleNotFoundError: if peft is not installed.
    """
    try:
        from peft import LoraConfig
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"scope {config.scope!r} needs peft; install lavida-shirg[train]") from error
    # peft reads the keys of its patterns as regular expressions over the ends of names.
    patterns = {f"^{name.replace('.', '[.]')}": rank for name, rank in ranks.items()}
    return LoraConfig(
        target_modules=list(ranks),
        rank_pattern=patterns,
        alpha_pattern={key: config.alpha_per_rank * rank for key, rank in patterns.items()},
        lora_dropout=config.dropout,
    )


def _inject_lora(model: LavidaForMaskedDiffusion, ranks: Mapping[str, int], config: TrainableConfig) -> None:
    settings = lora_config(ranks, config)
    from peft import inject_adapter_in_model

    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    inject_adapter_in_model(settings, model, low_cpu_mem_usage=model.device.type == "meta")
    # peft freezes everything but LoRA.
    for name, parameter in model.named_parameters():
        if name in trainable:
            parameter.requires_grad = True


def _cast_trainable(model: LavidaForMaskedDiffusion, dtype: torch.dtype) -> None:
    modules = dict(model.named_children())
    if "shirg_x" in modules:
        for name, part in modules["shirg_x"].named_children():
            # A frozen base must have the precision of the trained layer that reads it.
            if name != "text_tower" and any(parameter.requires_grad for parameter in part.parameters()):
                part.to(dtype)
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype != dtype:
            parameter.data = parameter.data.to(dtype)


def _decays(name: str, parameter: nn.Parameter) -> bool:
    shape = getattr(parameter, "ds_shape", parameter.shape)
    return len(shape) > 1 and "position_embedding" not in name


def _is_hidden_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter is a matrix inside one of the layers that follow each other."""
    return parameter.ndim == 2 and (".layers." in name or ".blocks." in name)
