"""A film shows what every step settled, and ends with the answer."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from llava.inference.decoding import find_decoding
from llava.inference.film import MASK_WIDTH, MASKED, Piece, pieces_after
from llava.inference.session import Session
from shirg.config import ShirgXConfig
from tests.cli_helpers import Call

QUESTION = "What is red?"
SHORT = find_decoding("one-per-step", max_new_tokens=8)


def spell(ids: list[int]) -> str:
    return "".join("abcdefghijk"[token] for token in ids)


def test_an_answer_is_cut_where_its_looks_change() -> None:
    tokens, settled = (0, 1, 2, 3, 4), (2, 0, 1, 2, 3)
    after = [pieces_after(step, tokens, settled, spell) for step in range(4)]
    assert after == [
        [Piece(text="", masked=1), Piece(text="b"), Piece(text="", masked=3)],
        [Piece(text="", masked=1), Piece(text="b"), Piece(text="c", fresh=True), Piece(text="", masked=2)],
        [Piece(text="a", fresh=True), Piece(text="bc"), Piece(text="d", fresh=True), Piece(text="", masked=1)],
        [Piece(text="abcd"), Piece(text="e", fresh=True)],
    ]


def masks(frame: Image.Image) -> float:
    """How many positions a frame shows as masked, by the area of their color."""
    color = tuple(int(MASKED[place : place + 2], 16) for place in (1, 3, 5))
    height = 19
    return sum(pixel == color for pixel in frame.convert("RGB").get_flattened_data()) / ((MASK_WIDTH + 1) * height)


@pytest.mark.parametrize("stock", [False, True], ids=["shirg_x", "stock"])
def test_masks_give_way_to_words_step_by_step(quick: Path, page: Path, stock: bool) -> None:
    with Session.load(quick, shirg=ShirgXConfig(mode="stock") if stock else None, device="cpu") as session:
        answer = session.ask(page, QUESTION, decoding=SHORT)
        film = session.film(answer)
        told = session.count_tokens(answer.tokens)
    settled = answer.settled_in[:told]
    assert len(film.frames) == 1 + max(settled)
    assert len({frame.size for frame in film.frames}) == 1
    before = masks(Image.new("RGB", film.frames[0].size, "white"))
    drawn = [masks(frame) - before for frame in film.frames]
    assert drawn[-1] == pytest.approx(drawn[0] - told, abs=0.5)
    for step, (earlier, later) in enumerate(pairwise(drawn), start=1):
        assert earlier - later == pytest.approx(settled.count(step), abs=0.5)


def test_a_long_question_is_whole(session: Session, page: Path) -> None:
    short, long = (
        session.film(session.ask(page, question, decoding=SHORT)).frames[0] for question in (QUESTION, "Why? " * 40)
    )
    assert long.height > short.height
    # Nothing of it touches the edge, where it would be cut.
    edge = long.crop((long.width - 8, long.height // 2, long.width, long.height)).convert("L")
    assert edge.getextrema() == (255, 255)


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_a_saved_film_plays_every_frame_forever(session: Session, page: Path, tmp_path: Path, suffix: str) -> None:
    film = session.film(session.ask(page, QUESTION, decoding=SHORT))
    film.save(tmp_path / f"answer{suffix}")
    with Image.open(tmp_path / f"answer{suffix}") as shown:
        assert (shown.n_frames, shown.size) == (len(film.frames), film.frames[0].size)
        assert shown.info["loop"] == 0
        shown.seek(len(film.frames) - 1)
        shown.load()
        assert shown.info["duration"] == 2500
    assert repr(film).startswith(f"Film({len(film.frames)} frames")


def test_other_kinds_of_files_are_refused(session: Session, page: Path, tmp_path: Path) -> None:
    film = session.film(session.ask(page, QUESTION, decoding=SHORT))
    with pytest.raises(ValueError, match=r"written as \.gif or \.webp, but .*answer\.mov"):
        film.save(tmp_path / "answer.mov")
    assert not (tmp_path / "answer.mov").exists()


def test_the_command_writes_one_for_every_question(call: Call, page: Path, tmp_path: Path) -> None:
    out, _ = call("ask", page, QUESTION, "Why?", "--tokens", "4", "--film", tmp_path / "answer.gif", "--json")
    names = [str(tmp_path / f"answer-{number}.gif") for number in (1, 2)]
    assert [json.loads(line)["film"] for line in out.splitlines()] == names
    for name in names:
        with Image.open(name) as shown:
            assert shown.n_frames >= 2
