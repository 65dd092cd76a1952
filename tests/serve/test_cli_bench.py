"""``lavida bench`` from end to end, at the smallest size."""

import json
from pathlib import Path

import pytest

from llava.serve.cli import main
from tests.cli_helpers import Call

WORDS = ("--rounds", "1", "--tokens", "4", "--device", "cpu")


def test_a_table_and_its_numbers(call: Call, page: Path, tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    shown, _ = call("bench", *WORDS, "--image", page, "--budget", "32", "48", "--out", out)
    stored = json.loads(out.read_text())
    names = [way["name"] for way in stored["ways"]]
    assert names == [
        "stock, 4 steps",
        "stock, 2 steps",
        "K = 32, 4 steps",
        "K = 32, 2 steps",
        "K = 32, fast",
        "K = 48, fast",
    ]
    assert [way["visual_tokens"] for way in stored["ways"][2:]] == [9 + 32] * 3 + [9 + 48]
    assert stored["command"].startswith("lavida bench --rounds 1")
    assert len(stored["commit"]) >= 7
    table = out.with_suffix(".md").read_text()
    for stage in ("preprocess", "encode", "select", "prefill", "step", "answer", "launches, step"):
        assert f"| {stage} |" in table
        assert stage.partition(",")[0] in shown


def test_json_is_one_object(call: Call, page: Path) -> None:
    shown, _ = call("bench", *WORDS, "--image", page, "--budget", "32", "--json")
    assert json.loads(shown)["rounds"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "bench.txt"], "does not end in .json"),
        (["--out", "nowhere/bench.json"], "no directory nowhere"),
        (["--image", "none.png"], "none.png"),
        (["--rounds", "0"], "--rounds"),
        (["--budget", "5000"], "5000"),
        (["--full-size", "--device", "cuda:77"], "cuda:77"),
    ],
)
def test_what_cannot_be_measured_is_said(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *words]) == 2
    assert message in capsys.readouterr().err
