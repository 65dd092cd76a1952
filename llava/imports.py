"""Something to be done once a module of another package has been imported, by whoever and whenever."""

import sys
from collections.abc import Callable, Collection, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def when_imported(names: Collection[str], call: Callable[[], object], *, own: tuple[str, ...]) -> None:
    """Call once: now if one of these modules is there, else as soon as one has been imported.

    Where modules of one's own import it, that is when the outermost of them is done, as the call would find them half
    made. Python is asked to tell, by a finder that finds nothing itself (PEP 451; wrapt's ``when_imported`` does the
    same), and leaves when the call is done.

    Args:
        own: what the names of modules begin with that ``call`` imports, and that may import one of ``names``.
    """
    watch = _Watch(names, call, own)
    sys.meta_path.insert(0, watch)
    watch.imported(None)


class _Watch(MetaPathFinder):
    def __init__(self, names: Collection[str], call: Callable[[], object], own: tuple[str, ...]) -> None:
        self.names, self.call, self.own = frozenset(names), call, own

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in self.names and not name.startswith(self.own):
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Telling(spec.loader, self)
                return spec
        return None

    def imported(self, name: str | None) -> None:
        """A module is whole, though Python has yet to note it."""
        there = name in self.names or not self.names.isdisjoint(sys.modules)
        if there and self in sys.meta_path and not self._importing(name):
            sys.meta_path.remove(self)
            self.call()

    def _importing(self, done: str | None) -> bool:
        """Whether a module of one's own, or one that is waited for, is half made, leaving out one that is done."""
        inside = [
            module
            for name, module in sys.modules.items()
            if name != done and (name in self.names or name.startswith(self.own))
        ]
        return any(getattr(getattr(module, "__spec__", None), "_initializing", False) for module in inside)


class _Telling(Loader):
    """Loads as another loader does, and tells when it has."""

    def __init__(self, loader: Loader, watch: _Watch) -> None:
        self._loader, self._watch = loader, watch

    def __getattr__(self, name: str) -> Any:
        # ``python -m`` asks for a module's code instead of importing it.
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._watch.imported(module.__name__)
