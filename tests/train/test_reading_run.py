"""A tower that learns to read: settings, what moves how, and a killed run that goes on as if it had not been."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from llava.data.crop_config import CropsConfig
from llava.data.crops import CropDataset
from llava.model.builder import load_pretrained_model
from llava.pages.faces import SHIPPED
from llava.train.create import build_tokenizer, create_model, drawn_views, page_texts
from llava.train.reading import run as reading_run
from llava.train.reading.config import ReadingConfig
from llava.train.reading.probe import CONDITIONS, ReadingProbe
from llava.train.reading.reader import CropReader
from llava.train.reading.run import CURVE_FILE, HEADS_FILE, load_heads, run_reading
from scripts.train_reading import main as train_reading
from tests.train_helpers import SIZES, logged, write_config

STEPS = 6


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three layers, of which the last serves scoring only."""
    out, sizes = tmp_path_factory.mktemp("fresh") / "model", replace(SIZES, vision_layers=3)
    tokenizer = build_tokenizer(page_texts(("entity_grid",), ("shapes",), 20), sizes.vocabulary)
    create_model(sizes, tokenizer, drawn_views(168, "shapes", 2)).save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


@pytest.fixture(autouse=True)
def _small_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_run, "ReadingProbe", partial(ReadingProbe, crops=2, conditions=CONDITIONS[:2]))


def values(checkpoint: Path, out: Path, **changes: Any) -> dict[str, Any]:
    return {
        "model": str(checkpoint),
        "out": str(out),
        "crops": {"crops": 3 * STEPS, "cells": 4, "ramp": 0.5, "fonts": [str(SHIPPED)]},
        "grid": 12,
        "layers": [1, 2],
        "probe_every": 4,
        "trainer": {
            "per_device_train_batch_size": 3,
            "use_cpu": True,
            "logging_steps": 1,
            "save_steps": 2,
            "warmup_steps": 2,
            "disable_tqdm": True,
            "dataloader_num_workers": 0,
        },
        **changes,
    }


def config_of(checkpoint: Path, out: Path, **changes: Any) -> ReadingConfig:
    return ReadingConfig.from_dict(values(checkpoint, out, **changes))


@pytest.fixture(scope="module")
def whole(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run from its beginning to its end."""
    out = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading_run, "ReadingProbe", partial(ReadingProbe, crops=2, conditions=CONDITIONS[:2]))
        assert run_reading(config_of(checkpoint, out)) == out / "final"
    return out


class _Killed(Exception):
    pass


class TestRun:
    def test_it_takes_every_crop_once_and_saves_what_reads(self, checkpoint: Path, whole: Path) -> None:
        assert [entry["step"] for entry in logged(whole)] == list(range(1, STEPS + 1))
        lines = [json.loads(line) for line in (whole / CURVE_FILE).read_text().splitlines()]
        assert [line["step"] for line in lines] == [4, 6]
        assert {*lines[0]} == {"step", "13 px, trained", "11 px"}
        assert all(line["11 px"].keys() == {"words", "characters"} for line in lines)
        before, after = (
            load_pretrained_model(each, device_map="cpu", torch_dtype="float32")[1]
            for each in (checkpoint, whole / "final")
        )
        moved = {
            name
            for name, value in after.state_dict().items()
            if not torch.equal(value, before.state_dict()[name].to(value.dtype))
        }
        assert moved
        assert all("vision_tower" in name for name in moved)
        reader = CropReader(after.get_vision_tower(), (1, 2), 12)
        load_heads(reader, whole / "final")
        saved = load_file(whole / "final" / HEADS_FILE)
        assert torch.equal(reader.heads["2"].classify.weight, saved["2.classify.weight"])

    def test_a_killed_run_goes_on_with_the_losses_it_would_have_had(
        self, checkpoint: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = config_of(checkpoint, tmp_path / "run")
        seen = 0
        original = CropReader.forward

        def killed(self: CropReader, *args: Any, **kwargs: Any) -> torch.Tensor:
            nonlocal seen
            seen += 1
            if seen == 6:
                raise _Killed
            return original(self, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(CropReader, "forward", killed)
            with pytest.raises(_Killed):
                run_reading(config)
        assert sorted(path.name for path in (tmp_path / "run").glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4"]
        with pytest.raises(ValueError, match="holds checkpoints of an earlier run; resume it"):
            run_reading(config)
        run_reading(config, resume=True)
        names = ("step", "loss", "grad_norm", "learning_rate")
        told, expected = (
            [[entry[name] for name in names] for entry in logged(out)] for out in (tmp_path / "run", whole)
        )
        assert told == expected
        again, once = (load_file(next((out / "final").glob("model*.safetensors"))) for out in (tmp_path / "run", whole))
        for name, value in once.items():
            assert torch.equal(again[name], value), name

    def test_crops_come_in_their_order_and_another_seed_is_another_run(
        self, checkpoint: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        taken: list[int] = []
        original = CropDataset.__getitem__
        monkeypatch.setattr(
            CropDataset, "__getitem__", lambda self, index: (taken.append(index), original(self, index))[1]
        )
        other = values(checkpoint, tmp_path / "run")
        other["crops"] |= {"seed": 5, "crops": 9}
        run_reading(ReadingConfig.from_dict(other))
        assert taken == [*range(9)]
        assert logged(tmp_path / "run")[0]["loss"] != logged(whole)[0]["loss"]


class TestOptimizer:
    def test_muon_takes_the_matrices_of_the_layers_that_run_and_adamw_the_rest(
        self, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held: list[Any] = []
        original = reading_run._ReadingTrainer.train

        def noted(self: Any, **options: Any) -> None:
            held.append(self)
            original(self, **options)

        monkeypatch.setattr(reading_run._ReadingTrainer, "train", noted)
        changes = values(checkpoint, tmp_path / "run", muon=0.03, rate=0.007, weight_decay=0.11)
        changes["crops"] |= {"crops": 3}
        run_reading(ReadingConfig.from_dict(changes))
        (trainer,) = held
        names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
        optimizer = trainer.create_optimizer()
        groups = [{names[id(parameter)] for parameter in group["params"]} for group in optimizer.param_groups]
        assert [group["muon"] for group in optimizer.param_groups] == [True, False, False]
        assert [group["initial_lr"] for group in optimizer.param_groups] == [0.03, 0.007, 0.007]
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.11, 0.11, 0.0]
        matrices, spread, vectors = groups
        assert all(".encoder.layers." in name and name.endswith("weight") for name in matrices)
        assert {name.split(".encoder.layers.")[1].split(".")[0] for name in matrices} == {"0", "1"}
        # Four of attention and two of its MLP in each layer.
        assert len(matrices) == 2 * 6
        assert "heads.1.classify.weight" in spread
        assert any("patch_embedding" in name for name in spread)
        assert any("position_embedding" in name for name in spread)
        assert "heads.2.norm.bias" in vectors
        everything = {*names.values()}
        assert sum(map(len, groups)) == len(matrices | spread | vectors)
        left = everything - (matrices | spread | vectors)
        assert all(".encoder.layers.2." in name or "post_layernorm" in name or ".head." in name for name in left)


class TestReader:
    def test_crops_get_the_positions_of_their_place_on_the_page(self, checkpoint: Path) -> None:
        """A crop that is as large as the page is read as the tower reads the page."""
        tower = load_pretrained_model(checkpoint, device_map="cpu", torch_dtype="float32")[1].get_vision_tower()
        reader = CropReader(tower, (2,), 12).eval()
        pixels = torch.randint(0, 256, (2, 3, 168, 168), dtype=torch.uint8)
        with torch.no_grad():
            (whole,) = reader.logits(pixels, torch.zeros(2, 2, dtype=torch.int64)).values()
            features = tower(pixels.float() / 127.5 - 1)
            torch.testing.assert_close(whole, reader.heads["2"](features), rtol=1e-4, atol=1e-4)
            part = pixels[..., :56, :56]
            here, there = (
                next(iter(reader.logits(part, torch.tensor([place] * 2)).values())) for place in ([0, 0], [3, 5])
            )
        assert not torch.allclose(here, there)

    @pytest.mark.parametrize("layers", [(), (0, 2), (3,)])
    def test_layers_that_do_not_run_are_refused(self, checkpoint: Path, layers: tuple[int, ...]) -> None:
        tower = load_pretrained_model(checkpoint, device_map="cpu")[1].get_vision_tower()
        with pytest.raises(ValueError, match="layers must lie between 1 and 2"):
            CropReader(tower, layers, 12)


class TestConfig:
    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"crops": {"crops": 0}}, "crops: crops must be a whole number of at least 1"),
            ({"crops": {}}, "crops: the setting 'crops' is missing"),
            ({"crops": {"crops": 3, "sells": 2}}, "crops: unknown setting 'sells'; did you mean 'cells'"),
            ({"crops": {"crops": 3, "pdf_share": 1.5}}, "crops: pdf_share must be a finite number from 0.0 to 1.0"),
            ({"crops": {"crops": 3, "cells": 13}}, "crops of 13 patches do not fit into pages of 12"),
            ({"model": " "}, "model must be a text"),
            ({"muon": -1}, "muon must be a finite number"),
            ({"exact": True}, "exact must be a finite number"),
            ({"probe_every": 0}, "probe_every must be a whole number of at least 1"),
            ({"seed": -1}, "seed must be a whole number of at least 0"),
            ({"trainer": {"lerning_rate": 1}}, "trainer: unknown setting 'lerning_rate'"),
            ({"trainer": {"max_steps": 1}}, "trainer: unknown setting 'max_steps'"),
            ({"rats": 1}, "unknown setting 'rats'; did you mean 'rate'"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path: Path, changes: dict[str, Any], match: str) -> None:
        with pytest.raises(ValueError, match=match):
            config_of(tmp_path, tmp_path / "run", **changes)

    def test_it_writes_and_reads_itself(self, tmp_path: Path) -> None:
        config = config_of(tmp_path, tmp_path / "run")
        assert config.crops == CropsConfig(crops=18, cells=4, ramp=0.5, fonts=(str(SHIPPED),))
        assert config.layers == (1, 2)
        assert ReadingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("changes", "words", "message"),
    [
        ({"rats": 1}, [], "unknown setting 'rats'; did you mean 'rate'?"),
        ({"crops": {"crops": 0}}, [], "crops: crops must be a whole number of at least 1, got 0"),
        ({"trainer": {"max_steps": 1}}, [], "trainer: unknown setting 'max_steps'"),
        ({}, ["--set", "crops.cells=99"], "crops of 99 patches do not fit into pages of 12"),
        ({}, ["--dry-run"], "--dry-run plans the training of whole models"),
        ({"model": "nowhere/at/all"}, [], "nowhere/at/all"),
        ({"crops": {"crops": 3, "cells": 4, "pdfs": ["nope"]}}, [], "there is no file or folder nope with PDFs"),
        ({"crops": {"crops": 3, "cells": 4, "fonts": ["nope"]}}, [], "no usable font was found"),
    ],
)
def test_the_command_line_ends_bad_settings_in_one_line(
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    words: list[str],
    message: str,
) -> None:
    path = write_config(tmp_path, values(checkpoint, tmp_path / "run", **changes))
    assert train_reading([str(path), *words]) == 2
    out, err = capsys.readouterr()
    told = [line for line in err.splitlines() if line.startswith("lavida: error: ")]
    assert out == ""
    assert len(told) == 1
    assert message in told[0]
    assert "Traceback" not in err
    assert not (tmp_path / "run" / "final").exists()
