"""A run is asked about its user's own data: by source, at fixed masks, and never about what it trains on."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from llava.train.config import TrainConfig
from llava.train.datasets import look_at_data
from llava.train.survey import survey_rows
from llava.train.train import Run, prepare_run
from llava.train.validation import add_up
from tests.train_helpers import SHIRG, make_checkpoint, settings

SIZES = {"forms": 11, "charts": 7}
HELD = 3


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("fresh") / "model")


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources, a picture for every record; a record of the charts has two answers, one picture is damaged."""
    home = tmp_path_factory.mktemp("data")
    for source, count in SIZES.items():
        records = []
        for number in range(count):
            name = f"{source}-{number}.png"
            Image.radial_gradient("L").rotate(17 * number).convert("RGB").resize((61, 47)).save(home / name)
            said = [f"<image>\nWhat is in place {number}?", "red"]
            if source == "charts":
                said += ["And where?", "at the very top of it all"]
            turns = [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(said)]
            records.append({"id": str(number), "image": name, "conversations": turns})
        (home / f"{source}.json").write_text(json.dumps(records))
    sources = [{"json_path": str(home / f"{source}.json")} for source in SIZES]
    (home / "mixture.yaml").write_text(yaml.safe_dump({"datasets": sources}))
    return home / "mixture.yaml"


def prepare(checkpoint: Path, mixture: Path, out: Path, **changes: Any) -> Run:
    values = {
        "pages": None,
        "mixture": str(mixture),
        "held_out": HELD,
        "shirg_x": {**SHIRG, "similarity": "learned"},
        "losses": {"budget": 0, "relevance": 0},
        "trainer": {"max_steps": 4, "per_device_train_batch_size": 2, "eval_strategy": "steps", "eval_steps": 2},
    }
    return prepare_run(TrainConfig.from_dict(settings(checkpoint, out, **(values | changes))))


@pytest.fixture(scope="module")
def run(checkpoint: Path, mixture: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = prepare(checkpoint, mixture, tmp_path_factory.mktemp("run") / "out")
    run.train()
    return run


def test_every_source_has_its_score_and_its_loss(run: Run) -> None:
    evaluated = [entry for entry in run.trainer.state.log_history if "eval_exact_match" in entry]
    assert [entry["step"] for entry in evaluated] == [2, 4]
    for entry in evaluated:
        for source in SIZES:
            assert 0 <= entry[f"eval_held_out_{source}"] <= 1
            assert entry[f"eval_loss_{source}"] > 0


def test_the_best_has_the_lowest_loss_over_all_answer_tokens(run: Run) -> None:
    validation = run.trainer.validation
    assert validation is not None
    sums = validation.held_out_losses(run.trainer.model)
    # Answers are padded to 8 positions or, where they are longer, to 16; of charts each record has two.
    assert sums["forms"][1] == HELD * 8
    assert sums["charts"][1] % 8 == 0
    assert sums["charts"][1] > HELD * 8
    best = json.loads((Path(run.config.out) / "best" / "results.json").read_text())
    losses = [
        sum(entry[f"eval_loss_{source}"] * sums[source][1] for source in SIZES)
        for entry in run.trainer.state.log_history
        if "eval_loss_forms" in entry
    ]
    assert best["step"] == 2 * (1 + losses.index(min(losses)))


def test_losses_do_not_depend_on_when_or_by_how_many_processes_they_are_taken(run: Run) -> None:
    validation = run.trainer.validation
    assert validation is not None
    run.trainer.model.eval()
    whole = validation.held_out_losses(run.trainer.model)
    assert whole == validation.held_out_losses(run.trainer.model)
    shards = [validation.held_out_losses(run.trainer.model, shard=shard, num_shards=2) for shard in range(2)]
    together = add_up(shards)
    assert together.keys() == whole.keys()
    for source, (total, count) in whole.items():
        assert together[source][1] == count
        assert together[source][0] == pytest.approx(total, rel=1e-4)


def test_what_is_held_out_is_not_trained_on(run: Run, checkpoint: Path, mixture: Path, tmp_path: Path) -> None:
    looked_at = look_at_data(run.config)
    assert looked_at.dataset is not None
    assert looked_at.held_out is not None
    held = {record.id for record in looked_at.held_out}
    trained = {sample.id.split("#")[0] for sample in (run.trainer.train_dataset[place] for place in range(16))}
    assert len(held) == HELD * len(SIZES)
    assert dict(survey_rows(run.config, looked_at))["held out"] == "6 records more, to be asked about"
    assert held.isdisjoint(trained)
    assert len(held | trained) == sum(SIZES.values())
    assert len(looked_at.dataset.records) == sum(SIZES.values()) - len(held)


def test_lavidas_own_encoding_is_asked_too(checkpoint: Path, mixture: Path, tmp_path: Path) -> None:
    run = prepare(checkpoint, mixture, tmp_path / "out", shirg_x=None, trainable={"scope": "projector"}, losses={})
    validation = run.trainer.validation
    assert validation is not None
    assert validation.held_out_losses(run.trainer.model).keys() == SIZES.keys()
