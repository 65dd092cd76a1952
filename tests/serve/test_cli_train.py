"""Settings that are shipped are found by their names, and read."""

from pathlib import Path

import pytest

from llava.serve.options import build_parser
from llava.serve.train import settings_of
from llava.shipped import find_settings, settings_names, shipped

RUNS = [name for name in settings_names() if name.startswith(("train/", "small/"))]


@pytest.mark.parametrize("name", RUNS)
def test_every_shipped_run_is_one_that_this_program_knows(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = settings_of(build_parser().parse_args(["train", name, "--out", "here"]))
    assert config.out == "here"


def test_there_are_some_to_choose_from() -> None:
    assert {"train/shirg_x", "small/typed_6_full"} <= set(RUNS)


class TestFindSettings:
    @pytest.mark.parametrize(
        "name", ["train/shirg_x", "train/shirg_x.yaml", "configs/train/shirg_x.yaml", "deepspeed/zero2.json"]
    )
    def test_a_name_is_enough_in_any_folder(self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert find_settings(name).is_file()
        assert find_settings(name) == shipped(name)

    def test_what_lies_at_the_path_comes_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        own = Path("configs/train/shirg_x.yaml")
        own.parent.mkdir(parents=True)
        own.write_text("out: mine")
        assert find_settings(str(own)) == own
        assert shipped(own) is None
        assert find_settings("train/shirg_x") != own

    @pytest.mark.parametrize("name", ["../configs/shirg_x.yaml", "/shirg_x.yaml", "train", ""])
    def test_nothing_outside_counts_as_shipped(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert shipped(name) is None

    def test_a_misspelt_name_is_told_what_there_is(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(FileNotFoundError, match=r"train/shirgx.*of such a name: train/shirg_x"):
            find_settings("train/shirgx")
