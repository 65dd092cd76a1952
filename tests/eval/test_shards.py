"""A benchmark answered in parts says what it says as a whole."""

import json
from pathlib import Path

import pytest

from llava.eval.shards import Shard
from llava.serve.cli import main
from tests.cli_helpers import Call

QUESTIONS = ["--benchmark", "chartpage", "--style", "shapes", "--questions", "7", "--tokens", "4", "--device", "cpu"]


def answer(call: Call, out: Path, *words: str) -> None:
    call("eval", *QUESTIONS, "--budget", "48", "--out", out, *words)


def records_of(directory: Path) -> list[dict]:
    lines = (directory / "records.jsonl").read_text().splitlines()
    return [{**json.loads(line), "seconds": None} for line in lines]


@pytest.fixture
def parts(call: Call, tmp_path: Path) -> Path:
    for number in (3, 1, 2):
        answer(call, tmp_path / "parts", "--shard", f"{number}/3")
    return tmp_path / "parts"


def refusal(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert main(["eval", *map(str, words)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("lavida: error: ")


@pytest.mark.parametrize("of", [1, 2, 5, 13])
def test_shards_are_runs_that_cover_every_question_once(of: int) -> None:
    ranges = [Shard(number, of).places(13) for number in range(1, of + 1)]
    assert [place for places in ranges for place in places] == list(range(13))
    assert {len(places) for places in ranges} <= {13 // of, 13 // of + 1}


def test_merged_shards_are_one_run(call: Call, parts: Path, tmp_path: Path) -> None:
    answer(call, tmp_path / "whole")
    shown, err = call("eval", "--merge", parts)
    assert err == ""
    assert f"the results are in {parts}" in shown
    assert records_of(parts) == records_of(tmp_path / "whole")
    merged, whole = (json.loads((place / "summary.json").read_text()) for place in (parts, tmp_path / "whole"))
    assert merged["settings"] == whole["settings"]
    assert (merged["scores"], merged["kinds"]) == (whole["scores"], whole["kinds"])
    assert "cider" in merged["scores"]
    assert [run["from_question"] for run in merged["provenance"]] == [1]
    call("eval", "--merge", parts)
    answer(call, parts)  # goes on as a run that has nothing left to answer
    assert records_of(parts) == records_of(tmp_path / "whole")
    assert "+0.000" in call("eval", "--compare", parts, tmp_path / "whole")[0]


def test_each_shard_tells_its_own_provenance_once_merged(call: Call, parts: Path) -> None:
    second = parts / "shard-2-of-3" / "provenance.json"
    stored = json.loads(second.read_text())
    stored["runs"][0]["device"] = "slide rule"
    second.write_text(json.dumps(stored))
    call("eval", "--merge", parts)
    runs = json.loads((parts / "provenance.json").read_text())["runs"]
    assert [run["from_question"] for run in runs] == [1, 3, 5]
    assert [run["device"] == "slide rule" for run in runs] == [False, True, False]


def test_what_cannot_be_merged_is_named(call: Call, parts: Path, tmp_path: Path, capsys) -> None:
    assert "holds no shards; answer them with --shard, from 1/N to N/N" in refusal(capsys, "--merge", tmp_path)
    assert "leave out --benchmark and --out" in refusal(capsys, *QUESTIONS, "--merge", parts)
    (parts / "shard-2-of-3").rename(tmp_path / "away")
    assert f"there is no directory {parts}/shard-2-of-3" in refusal(capsys, "--merge", parts)
    answer(call, parts, "--shard", "2/3", "--threshold", "0.5")
    assert "decoding.threshold is 0.95 there and 0.5 here" in refusal(capsys, "--merge", parts)
    answer(call, parts, "--shard", "2/2")
    assert "holds shards of 2 and of 3; move those of one cut away" in refusal(capsys, "--merge", parts)
    assert not (parts / "records.jsonl").exists()


@pytest.mark.parametrize(
    ("shard", "message"),
    [
        ("2", "a shard is written like 2/8, got '2'"),
        ("0/3", "there is no shard 0/3; the first of four is 1/4, the last 4/4"),
        ("4/3", "there is no shard 4/3"),
        ("1/8", "7 questions cannot be cut into 8 shards; ask for fewer shards"),
    ],
)
def test_shards_that_do_not_exist_are_named(capsys, quick: Path, tmp_path: Path, shard: str, message: str) -> None:
    words = (*QUESTIONS, "--model", quick, "--out", tmp_path / "out", "--shard", shard)
    assert message in refusal(capsys, *words)
    assert not (tmp_path / "out").exists()
