"""The bundled model's stages, one after the other, as small as they get."""

from pathlib import Path

import pytest

from llava.shipped import find_settings
from llava.train.config import TrainConfig, change_settings
from llava.train.reading.config import ReadingConfig
from scripts.train_small import ON_GPU, STAGES, main
from shirg.settings import read_settings


@pytest.fixture
def called(tmp_path, monkeypatch):
    """What the stages run, each of which leaves its ``final`` behind."""
    calls: list[list[str]] = []

    def note(words: list[str]) -> int:
        calls.append(words)
        if words[0] == "train":
            out = Path(read_settings(find_settings(words[1]))["out"])
            (out / "final").mkdir(parents=True)
            (out / "final" / "config.json").write_text("{}")
        return 0

    monkeypatch.chdir(tmp_path)
    for name in ("lavida", "store_pages", "make_checkpoint"):
        monkeypatch.setattr(f"scripts.train_small.{name}", note)
    return calls


def test_the_stages_follow_each_other_and_done_ones_are_left(called):
    assert main(["--stored", "7", "--texts", "3", "--sizes", "width=32", "--set", "2_pages:trainer.max_steps=5"]) == 0
    fresh, read, pages, store, answer, full = called
    assert fresh == ["runs/small/fresh", "--pages", "3", "--set", "width=32"]
    assert read == ["train", "small/1_read", "--resume"]
    assert pages == ["train", "small/2_pages", "--resume", "--set", "trainer.max_steps=5"]
    assert store[1:] == ["--pages", "7"]
    assert store[0].endswith("3_answer.yaml")
    assert [answer[1], full[1]] == ["small/3_answer", "small/4_full"]
    del called[:]
    assert main([]) == 0
    assert called == []


def test_a_gpu_stores_nothing_and_stages_can_be_picked(called):
    assert main(["--gpu", "--stages", "3_answer"]) == 0
    (answer,) = called
    assert answer[:3] == ["train", "small/3_answer", "--resume"]
    assert {"pages.stored=null", "trainer.use_cpu=false"} <= set(answer)


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_gpu_changes_is_accepted(stage):
    kind = ReadingConfig if stage == "1_read" else TrainConfig
    config = change_settings(kind.from_dict(read_settings(find_settings(f"small/{stage}"))), ON_GPU[stage])
    assert config.trainer["use_cpu"] is False


@pytest.mark.parametrize("change", ["trainer.max_steps=1", "5_more:seed=1", "1_read"])
def test_changes_of_no_stage_are_refused(change, capsys):
    assert main(["--set", change]) == 2
    assert "STAGE:NAME=VALUE" in capsys.readouterr().err


def test_a_stage_that_fails_ends_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--stages", "2_pages"]) == 2
    assert "lavida train small/2_pages" in capsys.readouterr().err
