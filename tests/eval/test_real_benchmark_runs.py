"""Whole evaluations of public sets, read from small local copies."""

import json
import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import pytest
from PIL import Image

from llava.data.records import SHORT_ANSWER
from llava.eval.ablation import run_rows
from llava.eval.ablation_config import AblationConfig, BenchmarkChoice
from llava.eval.benchmarks.registry import BENCHMARKS
from llava.eval.comparison import markdown_tables, summarize_cells
from llava.serve.cli import main
from tests.cli_helpers import Call
from tests.tables_helpers import FORMULA, chart_rows, picture, write_split


@pytest.fixture(autouse=True)
def _own_cache_and_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def records_of(directory: Path) -> list[dict[str, Any]]:
    lines = (directory / "records.jsonl").read_text().splitlines()
    return [{**json.loads(line), "seconds": None} for line in lines]


BROKEN = {"bytes": b"no image", "path": None}


def cut_jpeg() -> dict[str, Any]:
    """The first half of a picture, whose size can still be read."""
    file = BytesIO()
    Image.effect_noise((240, 160), 60).convert("RGB").save(file, "JPEG")
    return {"bytes": file.getvalue()[: file.tell() // 2], "path": None}


def test_questions_that_cannot_be_asked_are_counted_and_the_others_answered(
    call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str], quick: Path
) -> None:
    """A file that is no image, one that is cut, a row without question, and one that does not fit the context."""
    rows = chart_rows(9)
    words = ("--benchmark", "chartqa", "--tokens", "4", "--batch-size", "2", "--device", "cpu", "--budget", "48")
    call("eval", *words, "--data", write_split(tmp_path / "whole", "chartqa", rows), "--out", tmp_path / "out")
    faults = {
        1: ({"image": cut_jpeg()}, "row 1"),
        4: ({"image": BROKEN}, "Cannot read the image of row 4"),
        5: ({"question": " "}, "row 5 has no question"),
        7: ({"question": "why " * 5000}, "more than the 4096 of this model"),
    }
    broken = [{**row, **faults[number][0]} if number in faults else row for number, row in enumerate(rows)]
    data = write_split(tmp_path / "broken", "chartqa", broken)
    _, told = call("eval", *words, "--data", data, "--out", tmp_path / "some")
    assert "4 of 9 questions could not be asked" in told
    found, whole = records_of(tmp_path / "some"), records_of(tmp_path / "out")
    assert [number for number, record in enumerate(found) if "fault" in record] == list(faults)
    for number, (_, fault) in faults.items():
        assert fault in found[number]["fault"]
    sound = [number for number in range(9) if number not in faults]
    assert [found[number]["answer"] for number in sound] == [whole[number]["answer"] for number in sound]
    summary = json.loads((tmp_path / "some" / "summary.json").read_text())
    assert summary["num_questions"] == 5
    assert len(summary["broken"]) == 4
    assert not any("fault" in record for record in whole)

    again = ["eval", *words, "--data", str(data), "--out", str(tmp_path / "again"), "--model", str(quick)]
    assert main([*again, "--stop-on-broken"]) == 2
    assert "row 1" in capsys.readouterr().err
    assert not (tmp_path / "again" / "records.jsonl").exists()
    call(*again[:-2])
    assert records_of(tmp_path / "again") == found


def test_nothing_that_can_be_asked_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str], quick: Path) -> None:
    data = write_split(tmp_path / "data", "chartqa", [{**row, "image": BROKEN} for row in chart_rows(3)])
    words = ["--benchmark", "chartqa", "--tokens", "4", "--device", "cpu", "--budget", "48", "--model", str(quick)]
    assert main(["eval", *words, "--data", str(data), "--out", str(tmp_path / "out")]) == 2
    assert "none of the first 3 questions could be asked" in capsys.readouterr().err


def test_an_evaluation_goes_on_where_a_damaged_image_stopped_it(
    call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str], quick: Path
) -> None:
    rows = chart_rows(7)
    whole = write_split(tmp_path / "whole", "chartqa", rows)
    words = ("--benchmark", "chartqa", "--tokens", "4", "--batch-size", "2", "--device", "cpu", "--budget", "48")
    shown, _ = call("eval", *words, "--data", whole, "--out", tmp_path / "out")
    records, summary = records_of(tmp_path / "out"), json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [record["question"] for record in records] == [f"How many bars of {n}?{SHORT_ANSWER}" for n in range(7)]
    assert set(summary["kinds"]) == {"human_test", "augmented_test"}
    assert (summary["num_questions"], summary["num_pages"]) == (7, 3)
    settings = summary["settings"]
    assert (settings["data"], settings["split"], settings["style"]) == (str(whole), "test", None)
    assert (settings["questions"], settings["metrics"]) == (7, ["relaxed_accuracy", "exact_match"])
    assert "relaxed_accuracy" in shown

    place = tmp_path / "place"
    write_split(place, "chartqa", [*rows[:4], {**rows[4], "image": BROKEN}, *rows[5:]])
    again = ["eval", *words, "--data", str(place), "--out", str(tmp_path / "again"), "--model", str(quick)]
    assert main([*again, "--stop-on-broken"]) == 2
    assert "Cannot read the image of row 4 of chartqa, split test" in capsys.readouterr().err
    assert records_of(tmp_path / "again") == records[:4]
    shutil.rmtree(place)
    write_split(place, "chartqa", rows)
    call(*again[:-2])
    assert records_of(tmp_path / "again") == records


def test_formulas_are_told_by_their_kind(call: Call, tmp_path: Path) -> None:
    words = ("--benchmark", "ocrbench", "--tokens", "6", "--device", "cpu", "--budget", "48")

    def ask(place: str, gold: str) -> list[dict[str, Any]]:
        kinds = ("Regular Text Recognition", FORMULA)
        rows = [{"question": "What?", "question_type": kind, "answer": [gold], "image": picture(23)} for kind in kinds]
        data = write_split(tmp_path / place, "ocrbench", rows)
        call("eval", *words, "--data", data, "--out", tmp_path / f"{place} out")
        return records_of(tmp_path / f"{place} out")

    answer = ask("first", "unknown")[0]["answer"]
    spaced = " ".join("".join(answer.split()))
    assert len(spaced) > 2
    assert [record["scores"]["contains"] for record in ask("spaced", spaced)] == [0, 1]


def test_a_benchmark_may_ask_fewer_than_all_by_itself(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = replace(BENCHMARKS["chartqa"], questions=2)
    monkeypatch.setattr("llava.serve.evaluate.find_benchmark", lambda name: few)
    data = write_split(tmp_path / "charts", "chartqa", chart_rows())
    words = ("--benchmark", "chartqa", "--data", data, "--tokens", "2", "--device", "cpu", "--budget", "48")
    for more, count in (((), 2), (("--questions", "4"), 4)):
        call("eval", *words, *more, "--out", tmp_path / str(count))
        assert len(records_of(tmp_path / str(count))) == count


def test_an_ablation_reads_data_and_has_no_evidence(
    tmp_path: Path, quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_split(tmp_path / "charts", "chartqa", chart_rows())
    config = AblationConfig.from_dict(
        {
            "out": str(tmp_path / "out"),
            "model": str(quick),
            "benchmarks": [{"name": "chartqa", "data": str(data), "questions": None}],
            "budgets": [32],
            "tokens": 3,
            "rows": [{"name": "SHIRG-X"}],
            "device": "cpu",
        }
    )
    (cell,) = run_rows(config)
    assert (cell.benchmark.label, cell.evidence, len(cell.pages)) == ("chartqa-test", [], 5)
    assert "**chartqa-test** (5 questions on 2 pages)" in markdown_tables(summarize_cells([cell]))
    monkeypatch.setattr("llava.eval.ablation.Session.load", None)
    with pytest.raises(FileNotFoundError, match=r"there is no directory .*gone with chartqa; check --data"):
        run_rows(config.replace(benchmarks=[{"name": "chartqa", "data": str(tmp_path / "gone")}]))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"name": "chartqa", "style": "full"}, "chartqa is not drawn and has no style 'full'"),
        ({"name": "entitygrid", "data": "pages"}, "entitygrid is drawn and reads no data"),
        ({"name": "entitygrid", "questions": None}, "entitygrid has questions without end; say how many"),
    ],
)
def test_choices_that_cannot_be_are_refused(choice: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BenchmarkChoice.from_dict(choice)


def test_choices_without_style_and_split_take_the_benchmarks_own() -> None:
    drawn, real = BenchmarkChoice(name="entitygrid"), BenchmarkChoice(name="docvqa")
    assert (drawn.label, drawn.questions) == ("entitygrid-full-test", 300)
    assert (real.label, real.style) == ("docvqa-validation", None)
