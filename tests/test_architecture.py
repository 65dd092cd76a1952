"""The rules that keep the code in order, read off the code itself."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIBRARIES = [*sorted((ROOT / "llava").rglob("*.py")), *sorted((ROOT / "shirg").rglob("*.py"))]
LIBRARIES.append(ROOT / "lavida_shirg_integration.py")
ALL = [*LIBRARIES, *sorted((ROOT / "scripts").rglob("*.py"))]

INTEGRATION = {"lavida_shirg_integration"}
FLOORS = {
    "base": ("llava.constants", "llava.files", "llava.imports", "llava.provenance", "llava.seeds", "llava.shipped"),
    "shirg": ("shirg",),
    "pages": ("llava.pages",),
    "model": (
        "llava.model",
        "llava.conversation",
        "llava.image_io",
        "llava.image_processor",
        "llava.mm_utils",
        "llava.question",
    ),
    "data": ("llava.data",),
    "integration": ("lavida_shirg_integration",),
    "tuning": ("llava.tuning",),
    "inference": ("llava.inference",),
    "metrics": ("llava.metrics",),
    "train": ("llava.train",),
    "speed": ("llava.speed",),
    "eval": ("llava.eval",),
    "hf": ("llava.hf",),
    "server": ("llava.server",),
    "serve": ("llava.serve",),
    "scripts": ("scripts",),
}
"""From the ground up: a floor may import what stands above it in this list, and itself; ``tests/`` has a folder for
each."""
NO_SELECTION = {
    *("shirg.tokens", "shirg.scaffold", "shirg.coordinates", "shirg.transfer", "shirg.tiling", "shirg.joining"),
    *("shirg.settings", "shirg.config", "shirg.lazy"),
}
"""Parts of SHIRG-X that LaViDa is built from; the choice of tokens comes to it from outside."""
LARGEST_SHARE = 0.2
"""Of all lines of code that one floor may hold."""


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def floor_of(name: str) -> str | None:
    """The floor of a module, or of a name in one; None for other packages and for ``llava`` itself.

    What ``python -m`` starts is an entry point, like the scripts.
    """
    if name.endswith(".__main__"):
        return "scripts"
    for floor, modules in FLOORS.items():
        if any(name == module or name.startswith(f"{module}.") for module in modules):
            return floor
    return None


def imported(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("path", ALL, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_imports_upwards(path):
    names = {name for name in imported(path) if name.split(".")[0] in {"llava", "shirg", "scripts"} | INTEGRATION}
    own = floor_of(module_of(path))
    assert own is not None or module_of(path) == "llava", "a module belongs to no floor; give it one in FLOORS"
    order = list(FLOORS)
    if own is not None:
        above = {name for name in names if (floor_of(name) or order[0]) in order[order.index(own) + 1 :]}
        assert not above, f"{own} must not import {sorted(above)}"
    if own in {"pages", "model"}:
        modules = {".".join(name.split(".")[:2]) for name in names if name.startswith("shirg.")}
        assert modules <= NO_SELECTION


def test_no_floor_is_larger_than_a_fifth_of_the_house():
    lines = dict.fromkeys(FLOORS, 0)
    for path in ALL:
        floor = floor_of(module_of(path))
        if floor is not None:
            lines[floor] += len(path.read_text().splitlines())
    shares = {floor: count / sum(lines.values()) for floor, count in lines.items()}
    assert min(shares.values()) > 0
    assert max(shares.values()) <= LARGEST_SHARE, shares


def test_tests_stand_on_the_floor_of_what_they_test():
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.rglob("test_*.py"))}
    assert folders == {*FLOORS, "fuzz"}
    assert {path.name for path in (ROOT / "tests").glob("test_*.py")} == {"test_architecture.py", "test_documents.py"}


@pytest.mark.parametrize("path", LIBRARIES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_environment_pickle_remote_code_or_debugger(path):
    text = path.read_text()
    for pattern in (
        r"os\.environ",
        r"getenv",
        r"torch\.load\(",
        r"import pickle",
        r"trust_remote_code=True",
        r"breakpoint\(",
    ):
        assert not re.search(pattern, text), f"{path} holds {pattern}"
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    if "serve" not in path.parts:
        assert not [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


@pytest.mark.parametrize("path", ALL, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_readable(path):
    assert len(path.read_text().splitlines()) <= 400
    assert ast.get_docstring(ast.parse(path.read_text())) or not path.read_text().strip(), f"{path} has no docstring"


def test_public_functions_and_classes_say_what_they_give():
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in LIBRARIES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and ast.get_docstring(node) is None
    ]
    assert not silent


def test_only_safe_weights_and_no_large_files_travel():
    folders = ("llava", "shirg", "scripts", "configs", "tests")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*") if file.is_file()]
    assert len(files) > 50
    assert not [file for file in files if file.suffix in {".bin", ".pt", ".pth", ".pkl", ".ckpt"}]
    assert not [file for file in files if file.stat().st_size > 16 * 2**20]
