"""What all settings have in common: frozen dataclasses that refuse what they do not know, read from YAML."""

import difflib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from llava.shipped import find_settings

# typing.Self would read better, but the type checker at run time knows it only in decorated classes.
AnySettings = TypeVar("AnySettings", bound="Settings")


def read_yaml(path: str | Path) -> Any:
    """What a YAML file holds, as plain values.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not YAML.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; check the path")
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error


def read_settings(path: str | Path) -> dict[Any, Any]:
    """What a YAML file of settings says, on top of the one that it names as ``extends``: a path from its own folder,
    or the name of shipped settings, such as ``train/shirg_x``.

    Sections are merged setting by setting; anything else that the file says replaces what it extends.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not YAML, holds no settings, or extends itself.
    """
    return _read_settings(Path(path), ())


def _read_settings(path: Path, before: tuple[Path, ...]) -> dict[Any, Any]:
    if path.resolve() in before:
        raise ValueError(f"{path} extends itself; leave out one 'extends'")
    values = read_yaml(path)
    if not isinstance(values, Mapping):
        raise ValueError(f"{path}: settings must be 'name: value' lines, got {values!r}")
    own = dict(values)
    base = own.pop("extends", None)
    if base is None:
        return own
    if not isinstance(base, str):
        raise ValueError(f"{path}: extends must name a file, got {base!r}")
    beside = path.parent / base
    found = beside if beside.is_file() else find_settings(base)
    return _merged(_read_settings(found, (*before, path.resolve())), own)


def _merged(base: Mapping[Any, Any], own: Mapping[Any, Any]) -> dict[Any, Any]:
    merged = dict(base)
    for name, value in own.items():
        old = merged.get(name)
        merged[name] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Settings whose values differ, by their dotted names: (name, value before, value now), None for what is missing.

    Compared as JSON gives them back, so that tuples and lists are one.
    """
    first, second = (_flat(json.loads(json.dumps(values))) for values in (before, now))
    return [
        (name, first.get(name), second.get(name))
        for name in sorted({*first, *second})
        if first.get(name) != second.get(name)
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def check_keys(values: Iterable[object], known: Iterable[str]) -> None:
    """Refuse a key that is not known.

    Raises:
        ValueError: naming the key and the closest known one.
    """
    names = list(known)
    for key in values:
        if key not in names:
            closest = difflib.get_close_matches(str(key), names, n=1, cutoff=0.0)[0]
            raise ValueError(f"unknown setting {key!r}; did you mean {closest!r}?")


def check_whole(name: str, value: object, least: int) -> None:
    """Refuse what is not a whole number of at least ``least``.

    Raises:
        ValueError: naming it.
    """
    # bool is a subclass of int, and `yes` in YAML is a bool.
    if type(value) is not int or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of a group of settings; ``__post_init__`` of each checks its own values."""

    @classmethod
    def from_dict(cls: type[AnySettings], values: Mapping[Any, Any]) -> AnySettings:
        """The settings with these values and defaults elsewhere.

        Raises:
            ValueError: if a key is unknown, one without a default is missing, or a value is refused.
        """
        check_keys(values, (field.name for field in fields(cls)))
        required = [each.name for each in fields(cls) if each.default is MISSING and each.default_factory is MISSING]
        if missing := [name for name in required if name not in values]:
            raise ValueError(f"the setting {missing[0]!r} is missing; give it")
        return cls(**values)

    @classmethod
    def from_yaml(cls: type[AnySettings], path: str | Path) -> AnySettings:
        """The settings a YAML file describes, as ``read_settings`` reads it; those it leaves out keep their defaults.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is not YAML, or something in it is unknown or wrong.
        """
        values = read_settings(path)
        try:
            return cls.from_dict(values)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values that YAML and JSON can hold; ``from_dict`` gives the same settings back."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def replace(self: AnySettings, **changes: Any) -> AnySettings:
        """The same settings with some changed, checked anew.

        Raises:
            ValueError: as ``from_dict``.
        """
        return self.from_dict(self.to_dict() | changes)

    def check_count(self, name: str, least: int) -> None:
        """Refuse a setting that is not a whole number of at least ``least``."""
        check_whole(name, getattr(self, name), least)

    def check_number(self, name: str, least: float = 0.0, most: float = math.inf) -> None:
        """Refuse a setting that is not a finite number from ``least`` to ``most``."""
        value = getattr(self, name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not least <= value <= most or math.isinf(value):
            bounds = f"of at least {least}" if math.isinf(most) else f"from {least} to {most}"
            raise ValueError(f"{name} must be a finite number {bounds}, got {value!r}")

    def check_switch(self, name: str) -> None:
        """Refuse a setting that is not true or false."""
        if not isinstance(getattr(self, name), bool):
            raise ValueError(f"{name} must be true or false, got {getattr(self, name)!r}")

    def check_text(self, name: str) -> None:
        """Refuse a setting that is no text, or an empty one."""
        value = getattr(self, name)
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{name} must be a text, got {value!r}")

    def check_pairs(self, name: str) -> None:
        """Refuse a setting that holds no settings."""
        if not isinstance(getattr(self, name), Mapping):
            raise ValueError(f"{name} must be 'name: value' pairs, got {getattr(self, name)!r}")

    def check_choice(self, name: str, choices: tuple) -> None:
        """Refuse a setting that is none of ``choices``."""
        if getattr(self, name) not in choices:
            raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, got {getattr(self, name)!r}")
