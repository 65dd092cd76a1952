"""What is written stands whole, or what stood before stays."""

import json

import pytest

from llava.files import replacing, replacing_directory, write_json, write_text


def test_a_file_is_replaced_when_the_new_one_is_whole(tmp_path):
    path = tmp_path / "note.txt"
    write_text("before", path)
    with replacing(path) as file:
        file.write("größer".encode())
        file.flush()
        assert path.read_text() == "before"
    assert path.read_text(encoding="utf-8") == "größer"
    write_json({"name": [1, 2]}, path)
    assert json.loads(path.read_text()) == {"name": [1, 2]}
    assert [file.name for file in tmp_path.iterdir()] == ["note.txt"]


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path):
    path = tmp_path / "note.txt"
    write_text("before", path)

    def fail(file) -> None:
        file.write(b"aft")
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"), replacing(path) as file:
        fail(file)
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["note.txt"]


def test_a_directory_is_replaced_when_the_new_one_is_whole(tmp_path):
    place = tmp_path / "runs" / "best"
    for text in ("first", "second"):
        with replacing_directory(place) as fresh:
            assert list(fresh.iterdir()) == []
            (fresh / f"{text}.txt").write_text(text)
            assert place.exists() == (text == "second"), "the old one stands until the new one does"
    assert [file.name for file in place.iterdir()] == ["second.txt"]
    assert [file.name for file in place.parent.iterdir()] == ["best"]


def test_a_directory_that_fails_half_way_leaves_the_old_one(tmp_path):
    place = tmp_path / "best"
    with replacing_directory(place) as fresh:
        (fresh / "weights").write_text("good")

    def fail(directory) -> None:
        (directory / "weights").write_text("half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"), replacing_directory(place) as fresh:
        fail(fresh)
    assert (place / "weights").read_text() == "good"
    assert [file.name for file in tmp_path.iterdir()] == ["best"]


def test_a_run_killed_between_old_and_new_is_gone_over_by_the_next(tmp_path):
    """A kill leaves what is half written beside the directory; it is no obstacle."""
    place = tmp_path / "best"
    for left in (".best.new", ".best.old"):
        (tmp_path / left / "half").mkdir(parents=True)
    with replacing_directory(place) as fresh:
        (fresh / "weights").write_text("good")
    assert [file.name for file in tmp_path.iterdir()] == ["best"]
    assert [file.name for file in place.iterdir()] == ["weights"]


def test_a_written_file_has_ordinary_permissions(tmp_path):
    write_text("new", tmp_path / "a.txt")
    (tmp_path / "b.txt").write_text("")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode
