"""Fixtures of the tests of data."""

from pathlib import Path

import pytest

from tests.cli_helpers import write_page


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With two sound images, a.png (29 x 23) and b.png (23 x 31), and a damaged one."""
    write_page(tmp_path / "a.png", (29, 23))
    write_page(tmp_path / "b.png", (23, 31))
    (tmp_path / "torn.png").write_bytes((tmp_path / "a.png").read_bytes()[:200])
    return tmp_path
