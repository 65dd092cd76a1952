"""What is refused before VLMEvalKit is loaded; none of this needs it."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from llava.eval.vlmeval.launch import without_result
from scripts.eval_vlmeval import main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model-args", "pretained=x", "--", "--data", "X"], "did you mean 'pretrained'"),
        (["--model-args", "pretrained=/nowhere,mode=stock", "--", "--data", "X"], "no directory /nowhere"),
        (["--model-args", "batch_size=4", "--", "--data", "X"], "one question after the other; leave batch_size out"),
        (["--", "--data", "X", "--model", "GPT4V"], "--model is for other models of VLMEvalKit; leave it out"),
        (["--", "--data", "X", "--config=x.json"], "--config is for other models of VLMEvalKit"),
        (["--", "--work-dir", "x"], "--data is missing"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("eval_vlmeval: error: ")
    assert message in line


@pytest.mark.skipif(find_spec("vlmeval") is not None, reason="VLMEvalKit is installed")
def test_vlmevalkit_is_missed_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--", "--data", "X"]) == 2
    assert capsys.readouterr().err.startswith("eval_vlmeval: error: VLMEvalKit is not installed")


def test_a_data_set_has_a_result_if_it_has_scores_or_was_left_without_them_on_purpose(tmp_path: Path) -> None:
    told = {
        "scored": {"status": "done", "metrics": {"Overall": 1.0}},
        "asked_only": {"status": "done", "metrics": {}, "skip_reason": "mode_infer"},
        "failed": {"status": "done", "metrics": {}, "skip_reason": None, "error_message": ""},
        "unknown": {"status": "done", "skip_reason": "invalid_dataset"},
    }
    (tmp_path / "status.json").write_text(json.dumps({"datasets": told}))
    assert without_result(tmp_path / "status.json", [*told, "left_out"]) == ["failed", "unknown", "left_out"]
