"""What the settings of training have in common: frozen dataclasses that refuse what they do not know."""

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of a section of a training configuration."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The section with these values and defaults elsewhere.

        Raises:
            ValueError: if ``values`` is no mapping, or a key is unknown (the message names the closest known one).
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"settings must be 'name: value' lines, got {values!r}")
        names = [field.name for field in fields(cls)]
        for key in values:
            if key not in names:
                closest = difflib.get_close_matches(str(key), names, n=1, cutoff=0.0)[0]
                raise ValueError(f"unknown setting {key!r}; did you mean {closest!r}?")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def check_count(self, name: str, least: int) -> None:
        """Refuse a setting that is not a whole number of at least ``least``."""
        value = getattr(self, name)
        if type(value) is not int or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")

    def check_number(self, name: str, least: float = 0.0) -> None:
        """Refuse a setting that is not a finite number of at least ``least``."""
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < float("inf"):
            raise ValueError(f"{name} must be a finite number of at least {least}, got {value!r}")

    def check_switch(self, name: str) -> None:
        """Refuse a setting that is not true or false."""
        if not isinstance(getattr(self, name), bool):
            raise ValueError(f"{name} must be true or false, got {getattr(self, name)!r}")

    def check_choice(self, name: str, choices: tuple) -> None:
        """Refuse a setting that is none of ``choices``."""
        if getattr(self, name) not in choices:
            raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, got {getattr(self, name)!r}")
