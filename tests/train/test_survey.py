"""What `lavida data` shows of a run's data."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from llava.data.real_sets import REAL_SETS, FileSet
from llava.inference.checkpoint import BUNDLED_MODEL, read_checkpoint_config
from llava.serve.cli import main
from llava.speed.dry_run import plan_run
from llava.train.config import TrainConfig
from llava.train.datasets import look_at_data, shirg_positions
from tests.cli_helpers import write_page


def write_run(home: Path, records: list[dict[str, Any]], **changes: Any) -> Path:
    (home / "data.json").write_text(json.dumps(records))
    values = {
        "model": str(BUNDLED_MODEL),
        "out": str(home / "run"),
        "mixture": str(home / "data.json"),
        "shirg_x": {},
        **changes,
    }
    (home / "run.yaml").write_text(yaml.safe_dump(values))
    return home / "run.yaml"


def record(number: int, image: str | None = "a.png", answer: str = "<b>red</b>") -> dict[str, Any]:
    turns = [{"from": "human", "value": f"What is {number}?"}, {"from": "gpt", "value": answer}]
    return {"id": number, "conversations": turns} | ({} if image is None else {"image": image})


def test_counts_lengths_and_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_page(tmp_path / "a.png", (900, 300))
    (tmp_path / "torn.png").write_bytes((tmp_path / "a.png").read_bytes()[:300])
    raws = [record(number) for number in range(10)]
    raws += [record(10, None), record(11, "torn.png"), record(12, "gone.png"), {"video": "a.mp4", **record(13, None)}]
    settings = write_run(tmp_path, raws, max_missing_images=0.1)
    assert main(["data", str(settings), "--examples", "12", "--sheet", str(tmp_path / "sheet")]) == 0
    out = capsys.readouterr().out.splitlines()
    table = dict(tuple(part.strip() for part in line.split("  ", 1)) for line in (each.strip() for each in out[:-1]))
    assert table["data"] == "14 records, 14 samples"
    assert table["images"] == "12 named, 11 found of 12 looked for"
    assert table["missing image"] == table["bad record"] == "1 samples left out"
    assert table["samples"] == "12 of 14 can be used"
    assert table["tokens, images"].startswith("median 1,168")
    assert table["context of the model"].endswith("12 samples were measured")
    page = Path(out[-1])
    assert page == tmp_path / "sheet" / "index.html"
    html = page.read_text()
    assert "&lt;b&gt;red&lt;/b&gt;" in html
    assert "left out in training" in html
    with Image.open(page.with_name("example-1-1.png")) as picture:
        assert max(picture.size) == 640


def test_data_that_would_be_refused_end_with_code_2_behind_their_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_page(tmp_path / "a.png", (90, 30))
    assert main(["data", str(write_run(tmp_path, [record(1), record(2, "gone.png")]))]) == 2
    out, err = capsys.readouterr()
    assert "1 found of 2 looked for" in out
    assert "1 of the 2 images that were looked for are missing" in err


def test_drawn_pages_are_shown_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages = {"families": ["entity_grid"], "style": "shapes", "pages": 40, "questions": 2}
    settings = write_run(tmp_path, [], mixture=None, pages=pages)
    assert main(["data", str(settings), "--examples", "2"]) == 0
    assert "80, 2 of a page" in capsys.readouterr().out
    assert len(list((tmp_path / "run" / "data").glob("example-*.png"))) == 2


@pytest.mark.parametrize(("teacher", "detail"), [("boxes", 1024), ("attention", 2304), ("gate", 2304)])
def test_an_image_takes_as_many_positions_as_the_longest_pass_of_a_step(teacher: str, detail: int) -> None:
    values: dict[str, Any] = {"model": "m", "out": "o", "shirg_x": {"similarity": "learned"}, "pages": {}}
    config = TrainConfig.from_dict({**values, "losses": {"relevance_teacher": teacher}})
    assert shirg_positions(config, None, (9, 9), learns=True) == 144 + detail
    assert shirg_positions(config, None, (9, 9), learns=False) == 144 + 1024


def test_several_public_sets_come_as_often_as_their_weights_say(tmp_path: Path) -> None:
    listed = []
    for name, count, weight in (("lcs558k", 3, 2), ("open_llava_next", 4, 0.5)):
        kind, home = REAL_SETS[name], tmp_path / name
        assert isinstance(kind, FileSet)
        (home / kind.json_path).parent.mkdir(parents=True, exist_ok=True)
        (home / kind.json_path).write_text(json.dumps([record(number) for number in range(count)]))
        (home / kind.image_folder).mkdir(exist_ok=True)
        write_page(home / kind.image_folder / "a.png", (90, 30))
        listed.append({"name": name, "location": str(home), "weight": weight})
    values = {"model": str(BUNDLED_MODEL), "out": str(tmp_path / "run"), "shirg_x": {}, "real": listed}
    config = TrainConfig.from_dict(values)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    report = look_at_data(config).report
    assert report is not None
    assert {source.name: source.samples for source in report.sources} == {"lcs558k": 6, "open_llava_next": 2}
    assert plan_run(config, read_checkpoint_config(config.model), processes=1).run.samples == 8


@pytest.mark.parametrize(
    ("real", "words"),
    [
        ([{"name": "docvqa"}, {"name": "docvqa"}], "real: docvqa is listed twice; list it once, with a weight of 2"),
        ([{"name": "docvqa"}, {"name": "doc"}], "real, set 2: name must be one of"),
        ([{"name": "docvqa", "weight": 0}], "real, set 1: weight must be above 0"),
        ([{"name": "docvqa", "weight": "2"}], "real, set 1: weight must be a finite number"),
        ([], "real must be a section of"),
        (["docvqa"], "real must be a section of"),
    ],
)
def test_wrong_lists_of_sets_are_refused(real: list[Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TrainConfig.from_dict({"model": "m", "out": "o", "real": real})
