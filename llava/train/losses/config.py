"""Which losses a stage trains on, and how much each weighs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from llava.train.losses.options import LossOptions
from llava.train.losses.registry import LOSSES
from shirg.settings import check_keys


@dataclass(frozen=True, kw_only=True)
class LossConfig(LossOptions):
    """Weights of the losses by their names, 0 leaving one out, and the options of ``LossOptions``.

    Settings files write both side by side: ``losses: {pointing: 0.5, pointing_layers: [1, 2]}``.

    Raises:
        ValueError: if there is no such loss, or a weight is negative.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    """Where they differ from the entries' own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_keys(self.weights, LOSSES)
        weights = {name: self.weights.get(name, entry.weight) for name, entry in LOSSES.items()}
        for name, weight in weights.items():
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
                raise ValueError(f"{name} must be a finite number of at least 0, got {weight!r}")
        object.__setattr__(self, "weights", weights)
        if not self.denoising and (self.looks or not any(weights[name] for name in _WITHOUT_ANSWERS)):
            raise ValueError(
                "without denoising there must be reading, alignment or gathering to learn, and nothing that looks at "
                "answers"
            )

    @classmethod
    def from_dict(cls, values: Mapping[Any, Any]) -> "LossConfig":
        """As ``Settings.from_dict``, of weights and options side by side."""
        options = [entry.name for entry in fields(cls) if entry.name != "weights"]
        check_keys(values, [*LOSSES, *options])
        weights = {name: value for name, value in values.items() if name in LOSSES}
        return cls(weights=weights, **{name: value for name, value in values.items() if name not in LOSSES})

    def to_dict(self) -> dict[str, Any]:
        """As ``Settings.to_dict``, of weights and options side by side."""
        plain = super().to_dict()
        return {**plain.pop("weights"), **plain}

    def weight(self, name: str) -> float:
        """How much a loss counts."""
        return float(self.weights[name])

    @property
    def active(self) -> tuple[str, ...]:
        """The losses that count."""
        return tuple(name for name, weight in self.weights.items() if weight)

    @property
    def denoising(self) -> bool:
        """Whether the language model runs."""
        return self.weights["denoising"] > 0

    @property
    def looks(self) -> bool:
        """Whether attention of the language model is taught."""
        return any(LOSSES[name].looks for name in self.active)

    @property
    def page_losses(self) -> tuple[str, ...]:
        """The active ones that need drawn pages."""
        return tuple(name for name in self.active if LOSSES[name].needs_pages)


_WITHOUT_ANSWERS = ("reading", "alignment", "gathering")
"""Losses that a stage may consist of alone."""
