"""Mutants are put into functions that are imported already, and undone by nothing but the end of the process."""

import importlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts import mutants
from scripts.mutating import Mutant, changed_functions, functions_of, put_in

SOURCE = """
LIMIT = 3


def plain(x: "int | None" = 2 + 1):
    def inner(y):
        return x + y

    return inner


class Box:
    size: int = 4

    @property
    def width(self):
        return 2

    @width.setter
    def width(self, value):
        self.size = value - 1

    def twice(self):
        return [2 * each for each in (self.size,)]
"""


@dataclass(frozen=True, kw_only=True)
class Replaced(Mutant):
    """A mutant that is made by hand."""

    old: str
    new: str

    def code(self, source: str) -> str:
        assert source.count(self.old) == 1
        return source.replace(self.old, self.new)


def replaced(old: str, new: str) -> Replaced:
    return Replaced(id="0", file="planted.py", line=1, operator="", occurrence=0, old=old, new=new)


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("x + y", "x - y", {("plain", 0)}),
        ("value - 1", "value + 1", {("Box.width", 1)}),
        ("2 * each", "2 / each", {("Box.twice", 0)}),
        ("LIMIT = 3", "LIMIT = 4", set()),
        ("2 + 1", "2 - 1", set()),
        ("int | None", "int & None", set()),
        ("size: int = 4", "size: int = 5", set()),
    ],
)
def test_what_changes_when_it_is_called_is_a_mutant_and_nothing_else(
    old: str, new: str, changed: set[tuple[str, int]]
) -> None:
    assert set(changed_functions(SOURCE, replaced(old, new))) == changed
    assert set(functions_of(SOURCE, "planted.py")) == {
        ("plain", 0),
        *(("Box.width", n) for n in (0, 1)),
        ("Box.twice", 0),
    }


def test_functions_that_others_have_imported_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    planted = importlib.import_module("planted")
    plain, box = planted.plain, planted.Box()
    assert put_in(tmp_path, replaced("x + y", "x - y")) == 1
    assert put_in(tmp_path, replaced("value - 1", "value + 1")) == 1
    assert plain(5)(3) == 2
    box.width = 7
    assert (box.size, box.width, box.twice()) == (8, 2, [16])
    assert put_in(tmp_path, replaced("LIMIT = 3", "LIMIT = 4")) == 0
    sys.modules.pop("planted")


def test_every_file_has_tests_and_nothing_travels_back_from_a_fork() -> None:
    files = mutants.files()
    assert {"shirg/merging.py", "lavida_shirg_integration.py", "llava/metrics/cider.py"} <= set(files)
    assert len(files) > 60
    for place, tests in mutants.TESTS.items():
        assert (mutants.ROOT / place).exists()
        assert all((mutants.ROOT / test).is_file() for test in tests if "{" not in test)
    without = {Path(file).name for file in files if not mutants.tests_of(file)}
    assert without <= {"__init__.py", "parts.py"}
    before = os.getpid()
    code, seconds, said = mutants.try_in_fork(None, ["tests/base/no_such_test.py"], 30)
    assert (os.getpid(), code) == (before, 4)
    assert seconds > 0
    assert "no_such_test" in said


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        ([{"outcome": "killed"}] * 19 + [{"outcome": "survived", "why": ""}], None),
        ([{"outcome": "killed"}] * 9 + [{"outcome": "survived", "why": ""}], "less than 95% of the mutants"),
        ([{"outcome": "killed"}] * 9 + [{"outcome": "survived", "why": "the same"}], None),
        ([], "less than 95%"),
    ],
)
def test_too_many_survivors_fail_the_check(outcomes: list[dict[str, str]], words: str | None) -> None:
    known = {str(number): entry for number, entry in enumerate(outcomes)}
    if words is None:
        mutants._check(known)
        return
    with pytest.raises(ValueError, match=words):
        mutants._check(known)


def test_the_stored_list_passes_it() -> None:
    assert mutants.main(["--check"]) == 0
    assert set(mutants.files()) >= {entry["file"] for entry in mutants.read_results().values()}
