"""Answers with weights of one byte beside those of the weights as loaded."""

import json

import pytest

from scripts import compare_weights


def test_both_sides_are_asked_the_same_and_weights_shrink(quick, tmp_path, capsys):
    out = tmp_path / "int8.json"
    words = ["--model", str(quick), "--style", "shapes", "--questions", "2", "--out", str(out)]
    assert compare_weights.main(words) == 0
    result = json.loads(out.read_text())
    before, after = result["bytes"]
    assert after < before
    assert set(result["benchmarks"]) == {"docpage", "chartpage"}
    for row in result["benchmarks"].values():
        assert row["questions"] == 2
        assert 0 <= row["equal_texts"] <= 2
        assert row["time"] > 0
        assert min(row["forwards"]) >= 2
    assert result["command"].endswith(f"--style shapes --questions 2 --out {out}")
    table = out.with_suffix(".md").read_text()
    assert "| docpage | 2 |" in table
    assert table in capsys.readouterr().out


def test_shares_are_those_of_right_answers():
    class Said:
        def __init__(self, text):
            self.text = text

    right = [("7",), ("Ada", "ada l."), ("blue",)]
    assert compare_weights._share([Said("7"), Said("Ada L."), Said("red")], right) == pytest.approx(2 / 3)


def test_a_place_that_cannot_be_written_is_told_first(tmp_path, capsys):
    assert compare_weights.main(["--out", str(tmp_path / "none" / "int8.json")]) == 2
    assert "none" in capsys.readouterr().err
