"""The gallery shows what the model that is there answers, and fits into the repository."""

import re
from pathlib import Path

import pytest
from PIL import Image

from llava.inference.session import Session
from scripts.make_gallery import DOCUMENTS, FOLDER, main, questions
from shirg.config import ShirgXConfig

MOST_BYTES = 600_000
LINK = re.compile(r"!\[[^\]]+\]\(([^)]+)\)")


def pictures_of(folder: Path) -> list[Path]:
    """What the page shows, all of it there and nothing beside it."""
    shown = [folder / link for link in LINK.findall((folder / "gallery.md").read_text())]
    assert sorted(shown) == sorted((folder / FOLDER).iterdir())
    return shown


@pytest.mark.long
def test_answers_and_pictures_are_those_of_the_model(
    quick: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stray = tmp_path / FOLDER / "of_an_earlier_page-kept.webp"
    stray.parent.mkdir()
    stray.touch()
    assert main(["--model", str(quick), "--out", str(tmp_path), "--device", "cpu"]) == 0
    asked = list(questions())
    assert f"{tmp_path / 'gallery.md'}, with " in capsys.readouterr().out
    shown = pictures_of(tmp_path)
    assert [path.name for path in shown if path.stem.endswith(("-kept", "-boxes"))] == [
        f"{each.name}-{kind}.webp" for each in asked for kind in ("kept", "boxes")
    ]
    films = [path for path in shown if path.stem.endswith("-film")]
    with Image.open(films[0]) as film:
        assert film.n_frames > 1
    text = (tmp_path / "gallery.md").read_text()
    with (
        Session.load(quick, device="cpu") as session,
        Session.load(quick, shirg=ShirgXConfig(mode="stock"), device="cpu") as stock,
    ):
        for each in asked:
            for way in (session, stock):
                answer = way.ask(each.image, each.question)
                told = " ".join(answer.text.replace("|", r"\|").split()) or "(empty)"
                assert f"| {told} | wrong | {answer.confidence:.2f} | {len(answer.prefix.tokens):,} |" in text


def test_the_questions_have_places() -> None:
    asked = list(questions())
    assert len({each.name for each in asked}) == len(asked) == 4
    assert all(each.answer_boxes for each in asked)
    assert any(each.evidence for each in asked)


def test_the_stored_gallery_is_whole_and_small() -> None:
    assert sum(path.stat().st_size for path in pictures_of(DOCUMENTS)) < MOST_BYTES


def test_what_cannot_be_drawn_is_said(quick: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path / "none")]) == 2
    assert "there is no such directory; make it first" in capsys.readouterr().err
    assert main(["--model", str(tmp_path / "model"), "--out", str(tmp_path)]) == 2
    assert "model" in capsys.readouterr().err
