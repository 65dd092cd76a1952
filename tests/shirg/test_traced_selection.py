"""The choice of tokens is one graph, which a compiler may fuse."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.shirg import traced_selection

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.long
def test_selection_is_traced_without_breaks_and_chooses_the_same_tokens():
    done = subprocess.run(
        [sys.executable, "-m", traced_selection.__name__], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
