"""Settings files on top of others: chains, what is merged and what replaced, and what ends in one sentence."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from shirg.config import ShirgXConfig
from shirg.settings import read_settings


def write(path: Path, **values: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(values))
    return path


def test_a_file_says_what_it_changes_and_its_base_the_rest(tmp_path):
    write(tmp_path / "base.yaml", a=1, b={"c": 2, "d": {"e": 3, "f": 4}}, g=[1, 2, 3], h={"i": 5}, k=None)
    path = write(tmp_path / "own.yaml", extends="base.yaml", b={"d": {"e": 30}, "new": 6}, g=[7], h=8, k={"l": 9})
    assert read_settings(path) == {
        "a": 1,
        "b": {"c": 2, "d": {"e": 30, "f": 4}, "new": 6},
        "g": [7],
        "h": 8,
        "k": {"l": 9},
    }
    assert read_settings(tmp_path / "base.yaml")["g"] == [1, 2, 3]


def test_chains_are_read_from_their_end_each_from_its_own_directory(tmp_path):
    write(tmp_path / "first.yaml", a=1, b=1, c=1)
    write(tmp_path / "deep" / "second.yaml", extends="../first.yaml", b=2, c=2)
    write(tmp_path / "deep" / "er" / "third.yaml", extends=str(tmp_path / "deep" / "second.yaml"), c=3)
    assert read_settings(tmp_path / "deep" / "er" / "third.yaml") == {"a": 1, "b": 2, "c": 3}


def test_one_base_may_serve_several(tmp_path):
    """It is no circle that two files of a chain were read before by another."""
    write(tmp_path / "base.yaml", a=1)
    first, second = (write(tmp_path / f"{name}.yaml", extends="base.yaml", b=name) for name in ("x", "y"))
    assert (read_settings(first)["b"], read_settings(second)["b"]) == ("x", "y")
    assert read_settings(first) == {"a": 1, "b": "x"}


@pytest.mark.parametrize("length", [1, 2, 3])
def test_circles_are_named(tmp_path, length):
    for number in range(length):
        write(tmp_path / f"{number}.yaml", extends=f"./../{tmp_path.name}/{(number + 1) % length}.yaml", a=number)
    with pytest.raises(ValueError, match=r"0\.yaml extends itself; leave out one 'extends'"):
        read_settings(tmp_path / "0.yaml")


def test_a_base_that_is_missing_or_none_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nope\.yaml"):
        read_settings(write(tmp_path / "a.yaml", extends="nope.yaml"))
    for value in (7, ["base.yaml"], {"a": 1}):
        with pytest.raises(ValueError, match=r"b\.yaml: extends must name a file, got"):
            read_settings(write(tmp_path / "b.yaml", extends=value))
    (tmp_path / "list.yaml").write_text("- 1\n- 2\n")
    with pytest.raises(ValueError, match=r"list\.yaml: settings must be 'name: value' lines"):
        read_settings(write(tmp_path / "c.yaml", extends="list.yaml"))


def test_settings_are_made_from_what_a_file_and_its_base_say(tmp_path):
    write(tmp_path / "base.yaml", grid=12, budgets=[11, 13], budget=13)
    own = write(tmp_path / "own.yaml", extends="base.yaml", budgets=[17], budget=17)
    assert ShirgXConfig.from_yaml(own) == ShirgXConfig(grid=12, budgets=(17,), budget=17)
    write(tmp_path / "base.yaml", gird=12)
    with pytest.raises(ValueError, match=r"own\.yaml: unknown setting 'gird'; did you mean 'grid'"):
        ShirgXConfig.from_yaml(own)
