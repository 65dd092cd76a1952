"""Pages on disk: images, and records in LLaVA's conversation format."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from llava.pages import PageStream, page_records
from scripts.make_pages import main


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["make_pages", *words])
    main()


def test_written_pages_are_those_of_the_stream(monkeypatch, tmp_path, capsys):
    options = ("--family", "entity_grid", "--split", "validation", "--style", "shapes", "--seed", "5", "--start", "2")
    run(monkeypatch, *options, "--count", "3", "--out", str(tmp_path))
    records = json.loads((tmp_path / "entity_grid-validation-shapes.json").read_text())
    assert f"3 pages with {len(records)} questions" in capsys.readouterr().out
    stream = PageStream("entity_grid", "validation", 5, style="shapes")
    expected = [(index, question) for index in (2, 3, 4) for question in stream[index].questions]
    assert len({record["id"] for record in records}) == len(records) == len(expected)
    for record, (index, question) in zip(records, expected, strict=True):
        human, gpt = record["conversations"]
        assert human == {"from": "human", "value": f"<image>\n{question.question}"}
        assert gpt == {"from": "gpt", "value": question.answer}
        assert record["kind"] == question.kind
        assert record["boxes"]["answer"] == [list(box) for box in question.answer_boxes]
        assert record["boxes"]["evidence"] == [list(box) for box in question.evidence]
        with Image.open(tmp_path / record["image"]) as image:
            np.testing.assert_array_equal(np.asarray(image), np.asarray(stream[index].image))
    assert len(list((tmp_path / "images").iterdir())) == 3


def test_records_name_page_and_question():
    page = PageStream("doc_page", "train", 0, style="large_print")[0]
    records = page_records(page, "leaf", "images/leaf.png")
    assert [record["id"] for record in records] == [f"leaf-{index}" for index in range(len(page.questions))]
    assert {record["image"] for record in records} == {"images/leaf.png"}


def test_timing_writes_nothing(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    run(monkeypatch, "--family", "chart_page", "--style", "shapes", "--time", "3")
    assert "pages/s on one core" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
