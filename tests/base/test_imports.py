"""What waits for another package's modules happens once, when they are there and nothing is half imported."""

import importlib
import inspect
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llava.imports import when_imported


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place on the path with a package ``awaited_one`` and a package ``own_one``; all are forgotten at the end."""
    (tmp_path / "awaited_one").mkdir()
    (tmp_path / "awaited_one" / "__init__.py").write_text("")
    (tmp_path / "awaited_one" / "part.py").write_text("VALUE = 7\n")
    (tmp_path / "own_one").mkdir()
    (tmp_path / "own_one" / "__init__.py").write_text("")
    (tmp_path / "own_one" / "inner.py").write_text(
        "import awaited_one.part\nfrom own_one import told\nSEEN = told.calls[:]\n"
    )
    (tmp_path / "own_one" / "outer.py").write_text("from own_one import inner, told\nSEEN = told.calls[:]\n")
    (tmp_path / "own_one" / "told.py").write_text("calls = []\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    finders, before = sys.meta_path[:], set(sys.modules)
    yield tmp_path
    sys.meta_path[:] = finders
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("awaited_one", "own_one"):
            del sys.modules[name]


def wait(calls: list[str]) -> None:
    when_imported(["awaited_one.part", "awaited_one.other"], lambda: calls.append("now"), own=("own_one.",))


def test_it_happens_when_the_module_is_whole_and_only_once(shelf: Path) -> None:
    calls: list[str] = []
    wait(calls)
    importlib.import_module("awaited_one")
    assert calls == []
    part = importlib.import_module("awaited_one.part")
    assert calls == ["now"]
    assert part.VALUE == 7
    assert "VALUE = 7" in inspect.getsource(part)
    importlib.reload(part)
    assert calls == ["now"]


def test_it_happens_at_once_where_the_module_is_there(shelf: Path) -> None:
    calls: list[str] = []
    importlib.import_module("awaited_one.part")
    finders = sys.meta_path[:]
    wait(calls)
    assert calls == ["now"]
    assert sys.meta_path == finders


def test_it_waits_for_the_outermost_of_ones_own_modules(shelf: Path) -> None:
    """The call would find those half made that are importing what is awaited."""
    told = importlib.import_module("own_one.told")
    wait(told.calls)
    outer = importlib.import_module("own_one.outer")
    assert outer.inner.SEEN == outer.SEEN == []
    assert told.calls == ["now"]
    assert "from own_one import inner" in inspect.getsource(outer)


def test_a_module_that_fails_is_not_there(shelf: Path) -> None:
    calls: list[str] = []
    (shelf / "awaited_one" / "other.py").write_text("raise RuntimeError('torn')\n")
    wait(calls)
    with pytest.raises(RuntimeError, match="torn"):
        importlib.import_module("awaited_one.other")
    assert calls == []


def test_python_runs_modules_that_are_waited_for(shelf: Path) -> None:
    wait([])
    assert runpy.run_module("own_one.told")["calls"] == []
    assert runpy.run_module("awaited_one.part")["VALUE"] == 7


@pytest.mark.parametrize("module", ["llava.train", "llava.serve.cli"])
def test_programs_start_by_the_name_of_their_module(module: str) -> None:
    """As torchrun starts them: Python then asks for a module's code instead of importing it."""
    run = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "usage:" in run.stdout
