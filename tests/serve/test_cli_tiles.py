"""``--tiles`` on the command line: more candidates, the same K, and pages of PDFs as large as their views."""

import json
from pathlib import Path

import pytest
from PIL import Image

from llava.serve.cli import main
from llava.speed.floors import vision_flops
from tests.cli_helpers import Call, write_page


@pytest.mark.parametrize(("tiles", "candidates"), [("1", 144), ("2x3", 864), ("3x1", 432), ("auto", 576)])
def test_select_counts_the_patches_of_all_tiles(call: Call, tmp_path: Path, tiles: str, candidates: int) -> None:
    page = write_page(tmp_path / "large.png", (400, 350))
    words = ("--tiles", tiles, "--budget", "48", "--json", "--heatmap", tmp_path / "kept.png")
    told = json.loads(call("select", page, "What is the total?", *words)[0])
    assert told["candidates"] == candidates == told["kept_patches"] + told["dropped"]
    assert (told["kept"], told["scaffold"]) == (48, 9)
    assert (tmp_path / "kept.png").is_file()


@pytest.mark.parametrize("command", ["ask", "fill"])
def test_answers_are_given_with_the_same_number_of_tokens(call: Call, page: Path, command: str) -> None:
    text = {"ask": "What is the total?", "fill": "Total: [4]"}[command]
    told = json.loads(call(command, page, text, "--tiles", "2x2", "--budget", "32", "--tokens", "16", "--json")[0])
    assert (told["k"], told["scaffold_tokens"], told["image_tokens"]) == (32, 9, 41)


def test_a_pdf_is_rendered_for_its_tiles(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (200, 100), "white").save(tmp_path / "wide.pdf")
    sizes = []

    def encode(self, image, *, page=None):
        sizes.append(image.image.size)
        raise ValueError("seen")

    monkeypatch.setattr("llava.inference.session.Session.encode", encode)
    for tiles in ("1", "4x16"):
        with pytest.raises(AssertionError, match="seen"):
            call("ask", tmp_path / "wide.pdf", "What?", "--tiles", tiles)
    assert sizes[0] == pytest.approx((2000, 1000), abs=1)
    assert sizes[1] == pytest.approx((2688, 1344), abs=1), "16 views of 168 pixels across"


def test_evaluation_takes_tiles_and_says_so(call: Call, tmp_path: Path) -> None:
    words = ("--benchmark", "entitygrid", "--style", "shapes", "--questions", "2", "--tokens", "4", "--budget", "32")
    call("eval", *words, "--tiles", "1x2", "--out", tmp_path / "tiled")
    settings = json.loads((tmp_path / "tiled" / "summary.json").read_text())["settings"]
    assert settings["shirg_x"]["tiles"] == "1x2"
    call("eval", *words, "--tiles", "2x2", "--method", "ink", "--out", tmp_path / "ink")
    records = [json.loads(line) for line in (tmp_path / "ink" / "records.jsonl").read_text().splitlines()]
    assert {record["total_tokens"] for record in records} == {41}


def test_info_tells_what_tiles_cost(call: Call, quick: Path) -> None:
    told = json.loads(call("info", quick, "--json")[0])["tiles"]
    assert list(told) == ["1x1", "2x1", "2x2", "3x2"]
    assert [each["candidates"] for each in told.values()] == [144, 288, 576, 864]
    assert [each["tower_flops"] / told["1x1"]["tower_flops"] for each in told.values()] == [1, 2, 4, 6]
    assert len({each["language_flops"] for each in told.values()}) == 1
    from llava.inference.session import Session

    tower = Session.load(quick, device="cpu").model.get_vision_tower()
    assert told["2x2"]["tower_flops"] == vision_flops(tower.config, tower.num_layers_run, 144, 4)
    assert "3x2 of 864 patches" in call("info", quick)[0]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("ask", "PAGE", "What?", "--tiles", "2by2"), "tiles must be 1, auto, or rows x columns such as 3x2"),
        (("ask", "PAGE", "What?", "--tiles", "2x2", "--no-shirg"), "--tiles belongs to SHIRG-X"),
        (("eval", "--benchmark", "entitygrid", "--method", "stock", "--tiles", "2x2"), "--tiles belongs to SHIRG-X"),
    ],
)
def test_mistakes_are_named(page: Path, quick: Path, capsys: pytest.CaptureFixture[str], words, fault: str) -> None:
    command = [str(page) if word == "PAGE" else word for word in words]
    assert main([*command, "--model", str(quick)]) == 2
    assert fault in capsys.readouterr().err
