"""Things that are named before they are imported, so that settings are checked without waiting for torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Lazy:
    """A function or a class of a module that is imported when it is first called."""

    module: str
    name: str

    def resolve(self) -> Any:
        """The function or class itself."""
        return getattr(import_module(self.module), self.name)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """What calling it gives."""
        return self.resolve()(*arguments, **options)


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's ``__getattr__``: names that live in modules below it, each imported when it is asked for.

    Args:
        homes: the module of each name.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return Lazy(homes[name], name).resolve()

    return find
