"""A prompt that keeps the model and a page."""

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llava.inference.session import Session
from llava.serve.cli import main
from tests.cli_helpers import Call, write_page

Talk = Any


@pytest.fixture
def talk(quick: Path, page: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Talk:
    """Types some lines; gives the lines of stdout and stderr."""

    def run(*lines: str, image: Path = page) -> tuple[list[str], list[str]]:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        assert main(["chat", str(image), "--model", str(quick), "--device", "cpu"]) == 0
        out, err = capsys.readouterr()
        return out.splitlines(), err.splitlines()

    return run


def test_answers_are_those_of_ask_and_the_page_is_encoded_once(
    talk: Talk, call: Call, page: Path, tower_calls: list[str]
) -> None:
    out, err = talk("why?", "", "how much?", "  why?  ")
    assert tower_calls.count("extract_shirg_x_tokens") == 1
    alone = [call("ask", page, question)[0].strip() for question in ("why?", "how much?", "why?")]
    assert out == alone
    assert err == []


def test_what_is_wrong_is_told_and_the_page_stays(talk: Talk, page: Path, tmp_path: Path) -> None:
    sound, _ = talk("why?")
    wrong = [":page x", ":page 7", ":open", f":open {tmp_path / 'none.png'}", ":nothing", "<image>", ":heatmap a.txt"]
    out, err = talk(*wrong, "why?")
    assert out == sound
    assert len(err) == len(wrong)
    for line, words in zip(
        err,
        [":page wants a number", "page 7", ":open wants", "none.png", "no command :nothing", "<image>", "PNG"],
        strict=True,
    ):
        assert words in line


def test_another_file_the_heat_map_and_how_it_came_about(talk: Talk, call: Call, page: Path, tmp_path: Path) -> None:
    other = write_page(tmp_path / "other.png", (90, 140))
    kept = tmp_path / "kept.png"
    out, err = talk(":more", "why?", f":open {other}", ":heatmap", "why?", f":heatmap {kept}", ":more", ":quit", "why?")
    assert ["nothing has been asked" in line for line in err] == [True, True]
    first, second = (call("ask", image, "why?")[0].strip() for image in (page, other))
    assert out[:2] == [first, second]
    assert "confidence" in out[3]
    assert len(out) == 4, "nothing is answered behind :quit"
    with Image.open(kept) as picture:
        assert picture.width > 90


def test_ctrl_c_stops_an_answer_and_not_the_program(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Session.answer
    calls: list[str] = []

    def interrupted(self: Session, page: Any, question: str, **rest: Any) -> Any:
        calls.append(question)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return answer(self, page, question, **rest)

    sound, _ = talk("how much?")
    monkeypatch.setattr(Session, "answer", interrupted)
    out, err = talk("why?", "how much?")
    assert (out, err) == (sound, ["lavida: stopped"])


def test_a_page_that_cannot_be_read_is_told_before_a_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "open", lambda *_, **__: pytest.fail("a model was loaded"))
    assert main(["chat", str(tmp_path / "none.png")]) == 2
    assert "none.png" in capsys.readouterr().err
