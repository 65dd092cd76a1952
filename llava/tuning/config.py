"""The choice of what trains: checked when it is made, without the model."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, no_type_check

from shirg.settings import Settings

Scope = Literal["projector", "everything", "shirg_x", "shirg_x_expanded"]
Dtype = Literal["float32", "bfloat16"]

GROUPS: Mapping[str, tuple[str, ...]] = {
    "projector": ("model.mm_projector.",),
    "tower": ("model.vision_tower.",),
    "newline": ("model.image_newline",),
    "language": ("model.", "lm_head."),
    "coordinates": ("shirg_x.coordinates.",),
    "budget_head": ("shirg_x.budget_head.",),
    "relevance": ("shirg_x.relevance.",),
    "other": ("",),
}
"""Places in the model; the longest that fits a parameter's name decides, so that the language model is what else is in
``model``, and an output head beside it. ``other`` is what a caller adds: a probe."""

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
    muon: Mapping[str, float] = field(default_factory=dict)
    """Learning rates of the hidden matrices of ``tower`` and ``language`` by Muon, in place of AdamW's; for training
    from nothing."""
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
        self._check_muon()

    def _check_muon(self) -> None:
        if not isinstance(self.muon, Mapping) or not set(self.muon) <= {"tower", "language"}:
            raise ValueError(f"muon must be 'group: number' pairs of tower and language, got {self.muon!r}")
        for group, rate in self.muon.items():
            _check_number(f"muon's learning rate of {group}", rate, 0.0, math.inf, lowest_allowed=False)
        if self.muon and self.scope != "everything":
            raise ValueError(f"muon moves whole matrices, which scope {self.scope!r} does not train; leave it out")
        object.__setattr__(self, "muon", dict(self.muon))

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


def _check_number(name: str, value: Any, low: float, high: float, *, lowest_allowed: bool = True) -> None:
    if isinstance(value, str):
        raise ValueError(f"{name} must be a number, got the text {value!r}; YAML reads 1.0e-3 as a number, 1e-3 not")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and (low < value < high or (lowest_allowed and value == low)):
        return
    above = f"{'of at least' if lowest_allowed else 'above'} {low:g}"
    below = "" if math.isinf(high) else f" and below {high:g}"
    raise ValueError(f"{name} must be a number {above}{below}, got {value!r}")
