"""Keys that change what a record means."""

import pytest

from llava.data.records import read_record
from tests.data.test_mixture import record, talk


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"video": "a.mp4", "image": None}, "it is about a video"),
        ({"audio": ["a.wav"]}, "it is about sound"),
        ({"images": ["a.png"], "image": None}, "images under another name; call them image"),
        ({"chosen": "A", "rejected": "B"}, "a preference between answers"),
        ({"bbox": [0, 0, 1, 1]}, "a part of its image"),
        ({"source_file": "clips/7.webm"}, "its key source_file names a file that is no image: 'clips/7.webm'"),
    ],
)
def test_a_record_that_would_mean_something_else_is_bad(changes, words):
    raw = {**record(conversations=talk("What?", "That.")), **changes}
    found, _ = read_record(raw, id="s/r", source="s")
    assert words in str(found.bad)
    assert found.turns == ()


@pytest.mark.parametrize("question", ["<video>\nWhat happens?", "What happens?\n<video>", " <audio>\nWho speaks?"])
def test_a_question_about_what_is_not_shown_is_bad(question):
    found, _ = read_record({"conversations": talk(question, "Rain.")}, id="s/r", source="s")
    assert "a question holds <" in str(found.bad)


def test_what_changes_no_meaning_changes_no_record():
    plain = {"conversations": talk("Which tag plays a <video> in HTML?", "That one.")}
    more = {**plain, "model": "gpt", "width": 3, "video": "", "audios": [], "data_source": "web"}
    assert read_record(more, id="s/r", source="s") == read_record(plain, id="s/r", source="s")
    assert read_record(more, id="s/r", source="s")[0].bad is None


def test_a_turn_that_is_not_to_be_learned_makes_its_record_bad():
    turns = talk("?", "A.", "?", "B.")
    turns[1]["loss"] = 0
    assert "turn 2 is not to be learned" in str(read_record({"conversations": turns}, id="s/r", source="s")[0].bad)
