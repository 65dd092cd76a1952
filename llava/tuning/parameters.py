"""What trains: which parameters of a model take gradients, through LoRA or in full, and how fast each group learns.

LoRA (arXiv 2106.09685) comes from peft, which is imported only when a scope asks for it.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, no_type_check

import torch
from torch import nn

from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from shirg.settings import Settings

Scope = Literal["projector", "everything", "shirg_x", "shirg_x_expanded"]
Dtype = Literal["float32", "bfloat16"]

GROUPS = {
    "projector": "model.mm_projector.",
    "tower": "model.vision_tower.",
    "newline": "model.image_newline",
    "language": "model.transformer.",
    "coordinates": "shirg_x.coordinates.",
    "budget_head": "shirg_x.budget_head.",
    "relevance": "shirg_x.relevance.",
    "other": "",
}
"""Places in the model; the first that fits a parameter's name decides. ``other`` is what a caller adds: a probe."""

_ADDED = {"coordinates": 1e-3, "budget_head": 1e-3, "relevance": 1e-3, "other": 1e-3}
_LORA = {"projector": 2e-4, "tower": 2e-6, "newline": 2e-4, "language": 2e-4} | _ADDED
_FULL = {"projector": 2e-5, "tower": 2e-6, "newline": 2e-5, "language": 2e-5} | _ADDED
LEARNING_RATES: dict[str, dict[str, float]] = {
    "projector": _FULL | {"projector": 1e-3},
    "everything": _FULL,
    "shirg_x": _LORA,
    "shirg_x_expanded": _LORA,
}
"""Defaults by scope and group. ``everything`` has those of LaViDa's second stage."""

_ALIASES = {"mm_projector.fc1": "mm_projector.0", "mm_projector.fc2": "mm_projector.2"}
_COORD_LINEAR = "shirg_x.coordinates.coord_linear"
_ATTENTION = ("q_proj", "k_proj", "v_proj", "attn_out")


@no_type_check  # wrong types must reach __post_init__, whose messages say what to mend, in tests too
@dataclass(frozen=True, kw_only=True)
class TrainableConfig(Settings):
    """Which parameters train and how; the defaults are SHIRG-X's at full size.

    ``rank: 16`` is the way out of an unstable run: it lowers the projector's rank and, unless given, the language
    model's, and leaves the scale of every update as it was.

    Raises:
        ValueError: if a value has the wrong type, lies out of range, or names nothing.
    """

    scope: Scope = "shirg_x"
    """``projector``: LaViDa's first stage. ``everything``: its second, tower to head, and SHIRG-X if it is applied.
    ``shirg_x``: LoRA on the projector, and SHIRG-X's own weights. ``shirg_x_expanded``: also LoRA on all attention
    projections of the language model."""
    groups: Sequence[str] = ()
    """Only these groups of what the scope names, such as the budget head for new budgets; all when not given."""
    rank: int = 32
    """LoRA rank of the projector."""
    projector_layers: Sequence[str] = ("mm_projector.0", "mm_projector.2")
    """Which layers of the projector get LoRA; ``mm_projector.fc1`` and ``.fc2`` are other names of these two."""
    coord: Literal["lora", "full"] = "lora"
    """Train ``coord_linear`` through LoRA with its base frozen, or the base itself."""
    coord_rank: int = 8
    """LoRA rank of ``coord_linear``."""
    language_rank: int | None = None
    """LoRA rank of the language model; twice ``rank`` when not given."""
    alpha_per_rank: float = 2.0
    """LoRA's alpha divided by its rank: the factor of every update, the same for all ranks."""
    dropout: float = 0.0
    """Share of LoRA's inputs that is dropped."""
    learning_rates: Mapping[str, float] = field(default_factory=dict)
    """By group, where they differ from the scope's defaults."""
    weight_decay: float = 0.0
    """For matrices; norms, biases, single vectors and position embeddings never decay."""
    trainable_dtype: Dtype | None = "float32"
    """Precision of what trains; None keeps the model's. Updates of bfloat16 weights are lost to rounding unless the
    engine keeps float32 copies, as DeepSpeed does."""

    def __post_init__(self) -> None:
        self.check_choice("scope", get_args(Scope))
        self.check_choice("coord", ("lora", "full"))
        self.check_choice("trainable_dtype", (*get_args(Dtype), None))
        for name in ("rank", "coord_rank"):
            self.check_count(name, 1)
        if self.language_rank is not None:
            self.check_count("language_rank", 1)
        _check_number("alpha_per_rank", self.alpha_per_rank, 0.0, math.inf, lowest_allowed=False)
        _check_number("weight_decay", self.weight_decay, 0.0, math.inf)
        _check_number("dropout", self.dropout, 0.0, 1.0)
        self._check_layers()
        self._check_groups()
        if not isinstance(self.learning_rates, Mapping):
            raise ValueError(f"learning_rates must be 'group: number' pairs, got {self.learning_rates!r}")
        for group, rate in self.learning_rates.items():
            if group not in GROUPS:
                raise ValueError(f"learning_rates names {group!r}, but the groups are {', '.join(GROUPS)}")
            _check_number(f"the learning rate of {group}", rate, 0.0, math.inf, lowest_allowed=False)
        object.__setattr__(self, "learning_rates", dict(self.learning_rates))

    def _check_layers(self) -> None:
        layers = self.projector_layers
        is_list = isinstance(layers, Sequence) and not isinstance(layers, str) and len(layers) > 0
        if not is_list or not all(isinstance(layer, str) for layer in layers):
            raise ValueError(f"projector_layers must be a list of at least one layer's name, got {layers!r}")
        names = tuple(_ALIASES.get(layer, layer) for layer in layers)
        if len(set(names)) < len(names):
            raise ValueError(f"projector_layers must name each layer once, got {layers!r}")
        object.__setattr__(self, "projector_layers", names)

    def _check_groups(self) -> None:
        if not isinstance(self.groups, Sequence) or isinstance(self.groups, str):
            raise ValueError(f"groups must be a list of names, got {self.groups!r}")
        for group in self.groups:
            if group not in GROUPS:
                raise ValueError(f"groups names {group!r}, but the groups are {', '.join(GROUPS)}")
        object.__setattr__(self, "groups", tuple(self.groups))

    def trains(self, group: str) -> bool:
        """Whether one of ``GROUPS`` may train; the scope must name it too."""
        return not self.groups or group in self.groups

    @property
    def uses_lora(self) -> bool:
        """Whether the scope trains through LoRA."""
        return self.scope in ("shirg_x", "shirg_x_expanded")

    @property
    def ranks(self) -> dict[str, int]:
        """LoRA's rank by group, of groups that the scope may adapt."""
        language = 2 * self.rank if self.language_rank is None else self.language_rank
        return {"projector": self.rank, "coordinates": self.coord_rank, "language": language}

    def learning_rate(self, group: str) -> float:
        """The peak learning rate of one of ``GROUPS``."""
        return float(self.learning_rates.get(group, LEARNING_RATES[self.scope][group]))


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
    ranks = lora_ranks(model, config, coordinates=with_coordinates) if config.uses_lora else {}
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

    A group's tensors that must not decay come as a group of their own, named ``..._no_decay``. The order is that of
    ``GROUPS``, so that an optimizer's state fits when a run is resumed.
    """
    found: dict[str, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            suffix = "" if _decays(name, parameter) else "_no_decay"
            found.setdefault(group_of(name) + suffix, []).append(parameter)
    return [
        {
            "name": group + suffix,
            "params": found[group + suffix],
            "lr": config.learning_rate(group),
            "weight_decay": 0.0 if suffix else config.weight_decay,
        }
        for group in GROUPS
        for suffix in ("", "_no_decay")
        if group + suffix in found
    ]


def group_of(name: str) -> str:
    """The group that a parameter of this name belongs to, also where the model is part of another module."""
    return next(group for group, place in GROUPS.items() if f".{place}" in f".{name}" or not place)


def num_elements(parameter: nn.Parameter) -> int:
    """Elements of the whole parameter, also where ZeRO-3 holds only a part of it here."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def shirg_applied(model: LavidaForMaskedDiffusion) -> bool:
    """Whether SHIRG-X encodes this model's images now."""
    settings = model.config.shirg_x or {}
    return "shirg_x" in model._modules and settings.get("mode", "shirg_x") == "shirg_x"


def lora_ranks(model: LavidaForMaskedDiffusion, config: TrainableConfig, *, coordinates: bool = True) -> dict[str, int]:
    """The full name of every layer that a scope with LoRA adapts, and its rank.

    Raises:
        ValueError: if one of ``projector_layers`` is no linear layer of this model.
    """
    linear = [name.removeprefix("model.") for name, layer in model.named_modules() if _is_linear(layer)]
    known = [name for name in linear if name.startswith("mm_projector")]
    for layer in config.projector_layers:
        if layer not in known:
            raise ValueError(f"projector_layers names {layer!r}, but the projector's layers are {', '.join(known)}")
    ranks = {f"model.{layer}": config.ranks["projector"] for layer in config.projector_layers}
    if coordinates and config.coord == "lora":
        ranks[_COORD_LINEAR] = config.ranks["coordinates"]
    if config.scope == "shirg_x_expanded":
        for index in range(len(model.get_model().blocks)):
            names = [f"model.transformer.blocks.{index}.{name}" for name in _ATTENTION]
            ranks |= dict.fromkeys(names, config.ranks["language"])
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


def _inject_lora(model: LavidaForMaskedDiffusion, ranks: Mapping[str, int], config: TrainableConfig) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"scope {config.scope!r} needs peft; install lavida-shirg[train]") from error
    # peft reads the keys of its patterns as regular expressions over the ends of names.
    patterns = {f"^{name.replace('.', '[.]')}": rank for name, rank in ranks.items()}
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    settings = LoraConfig(
        target_modules=list(ranks),
        rank_pattern=patterns,
        alpha_pattern={key: config.alpha_per_rank * rank for key, rank in patterns.items()},
        lora_dropout=config.dropout,
    )
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


def _check_number(name: str, value: Any, low: float, high: float, *, lowest_allowed: bool = True) -> None:
    if isinstance(value, str):
        raise ValueError(f"{name} must be a number, got the text {value!r}; YAML reads 1.0e-3 as a number, 1e-3 not")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and (low < value < high or (lowest_allowed and value == low)):
        return
    above = f"{'of at least' if lowest_allowed else 'above'} {low:g}"
    below = "" if math.isinf(high) else f" and below {high:g}"
    raise ValueError(f"{name} must be a number {above}{below}, got {value!r}")
