"""The rules that keep the code in order, read off the code itself."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIBRARIES = [*sorted((ROOT / "llava").rglob("*.py")), *sorted((ROOT / "shirg").rglob("*.py"))]
LIBRARIES.append(ROOT / "lavida_shirg_integration.py")
ALL = [*LIBRARIES, *sorted((ROOT / "scripts").rglob("*.py"))]

NO_SELECTION = {"shirg.tokens", "shirg.scaffold", "shirg.coordinates", "shirg.transfer"}


def imported(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def top(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", LIBRARIES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_flow_of_the_data(path):
    names = imported(path)
    part = path.relative_to(ROOT).parts
    assert "scripts" not in top(names)
    if part[0] == "shirg":
        assert not top(names) & {"llava", "lavida_shirg_integration"}
    elif part[0] == "llava" and part[1] not in {"train", "eval", "serve"}:
        assert "lavida_shirg_integration" not in top(names)
        modules = {".".join(name.split(".")[:2]) for name in names if name.split(".")[0] == "shirg"}
        assert modules <= NO_SELECTION
        assert not any(name.startswith(("llava.train", "llava.eval", "llava.serve")) for name in names)


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
    if "serve" not in path.parts:
        assert not re.search(r"^\s*print\(", text, re.MULTILINE)


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
