"""Whatever people hand in by mistake comes back as one line that names it, and with exit code 2."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from llava.serve.cli import main
from tests.cli_helpers import Room, quick_checkpoint, write_page
from tests.model.test_image_io_pdf import write_pdf
from tests.serve.bad_input_cases import CASES, Case


@pytest.fixture(scope="module")
def quick(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quick_checkpoint(tiny_checkpoint, tmp_path_factory.mktemp("quick") / "all")


def furnished(path: Path, model: Path) -> Room:
    (path / "folder.png").mkdir(parents=True)
    page = write_page(path / "page.png")
    (path / "over-2.png").hardlink_to(page)
    return Room(path=path, model=model, page=page)


@pytest.fixture
def room(quick: Path, tmp_path: Path) -> Room:
    return furnished(tmp_path, quick)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_line_names_the_mistake(
    case: Case, room: Room, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    argv, named = case.make(room)
    if not case.loads:
        monkeypatch.setattr("llava.model.builder.load_pretrained_model", refuse_to_load)
    page = room.page.read_bytes()
    code = main(argv)
    out, err = capsys.readouterr()
    assert (code, out) == (2, ""), err
    assert err.startswith("lavida: error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert named in err
    assert "Traceback" not in err
    assert "\x1b" not in err
    assert room.page.read_bytes() == page


def refuse_to_load(*_: object, **__: object) -> None:
    raise AssertionError("the mistake could be seen before the model was loaded")


WITHOUT_TORCH = """
import json, sys
from llava.serve.cli import main
for name, words in json.load(sys.stdin).items():
    code = main(words)
    heavy = {"torch", "transformers", "jaxtyping", "matplotlib"} & set(sys.modules)
    assert code == 2 and not heavy, (name, code, heavy)
"""


def test_no_refusal_waits_for_torch(quick: Path, tmp_path: Path) -> None:
    cases = [case for case in CASES if not case.loads and not case.imports]
    commands = {case.name: case.make(furnished(tmp_path / str(place), quick))[0] for place, case in enumerate(cases)}
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], input=json.dumps(commands), capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert len(run.stderr.splitlines()) == len(commands) > 80


def test_the_wait_for_torch_is_announced_before_it_begins(quick: Path, tmp_path: Path) -> None:
    code = """
import sys
from contextlib import contextmanager
from llava.serve import requests
from llava.serve.cli import main

def working(what):
    assert "torch" not in sys.modules
    print(what)
    raise KeyboardInterrupt

requests.working = working
sys.exit(main(sys.argv[1:]))
"""
    page = write_page(tmp_path / "page.png")
    for words in (
        ["ask", page, "why?"],
        ["fill", page, "It is [2]."],
        ["select", page, "why?"],
        ["demo", "--out", "out"],
    ):
        command = [sys.executable, "-c", code, *map(str, words), "--model", str(quick)]
        run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
        assert (run.returncode, run.stdout) == (130, "loading the model\n"), run.stderr


def test_the_table_is_long_and_its_names_differ() -> None:
    assert len(CASES) >= 30
    assert len({case.name for case in CASES}) == len(CASES)


def test_a_sound_request_is_not_refused(room: Room, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", str(room.page), "why?", "--model", str(room.model), "--tokens", "4"]) == 0
    assert capsys.readouterr().err == ""


def test_a_page_too_thin_for_its_budget_keeps_all_it_has(room: Room, capsys: pytest.CaptureFixture[str]) -> None:
    write_page(room.page, (800, 20))
    settings = room.file("pad.yaml", "{grid: 12, budgets: [32, 64], budget: 64, resize: pad}")
    words = ["--model", str(room.model), "--config", settings, "--tokens", "2", "--json"]
    assert main(["ask", str(room.page), "why?", *words]) == 0
    assert json.loads(capsys.readouterr().out)["k"] in (12, 24)


def test_a_bad_page_of_a_pdf_leaves_the_others_readable(room: Room) -> None:
    pages = str(write_pdf(room.path / "two.pdf", [(90, 70), (70, 90)]))
    argv = ["ask", pages, "why?", "--model", str(room.model), "--tokens", "4", "--page"]
    assert [main([*argv, page]) for page in ("1", "2", "3")] == [0, 0, 2]
