"""What events of the web page may name as files."""

import json
from pathlib import Path

import pytest

from llava.server.page_door import PageDoor, named_paths


@pytest.fixture
def door(tmp_path: Path) -> PageDoor:
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "page.png").write_bytes(b"x")
    (tmp_path / "uploads" / "link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "secret.png").write_bytes(b"x")
    return PageDoor(None, readable=[str(tmp_path / "uploads")])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "may"),
    [
        ("{}/uploads/page.png", True),
        ("{}/uploads/../uploads/page.png", True),
        ("{}/uploads", False),
        ("{}/uploads/../secret.png", False),
        ("{}/uploads/link.png", False),
        ("{}/uploads2/page.png", False),
        ("{}/secret.png", False),
        ("/etc/passwd", False),
        ("http://127.0.0.1/secret.png", False),
        ("{}/uploads/http://127.0.0.1/x", False),
        ("page.png", False),
        ("{}/uploads/page.png\0", False),
        (None, False),
        (["x"], False),
    ],
)
def test_only_uploads_are_read(door: PageDoor, tmp_path: Path, path: object, may: bool) -> None:
    named = path.format(tmp_path) if isinstance(path, str) else path
    for data in ([{"path": named}], [1, {"value": [{"x": {"path": named}}]}], {"path": named}):
        assert door._may_read(json.dumps({"data": data}).encode()) == may


def test_what_is_no_json_is_no_event(door: PageDoor) -> None:
    for body in (b"", b"path", b"[" * 100_000, b'{"path": 1'):
        assert not door._may_read(body)
    assert door._may_read(b'{"data": ["what is the path?", 1]}')
    assert list(named_paths({"path": {"path": 1}})) == [{"path": 1}, 1]
