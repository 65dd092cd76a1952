"""Fixtures shared by all tests: a fixed seed, recorded outputs, and small checkpoints in the released format."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

PARITY = Path(__file__).parent / "fixtures" / "parity"


def pytest_configure() -> None:
    # Small models lose more to waiting threads than they gain, above all when tests share their cores.
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def goldens() -> dict[str, Any]:
    """What the public LaViDa code returns for the tiny model; see tests/fixtures/parity/README.md."""
    return json.loads((PARITY / "goldens.json").read_text())


@pytest.fixture(scope="session")
def golden_arrays() -> dict[str, np.ndarray]:
    with np.load(PARITY / "goldens.npz") as arrays:
        return dict(arrays)


def _make_checkpoint(out: Path, key: str) -> Path:
    command = [sys.executable, "-W", "ignore", "make_checkpoint.py", "goldens.json", str(out), "--key", key]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=PARITY, env=environment, check=True, capture_output=True)
    return out / "lavida-llada-tiny"


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in the released format, with a small SigLIP repository beside it. Copy it before changing it."""
    return _make_checkpoint(tmp_path_factory.mktemp("tiny"), "config")


@pytest.fixture(scope="session")
def tiny_train_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the released vocabulary and ids, as the recorded training losses need it."""
    return _make_checkpoint(tmp_path_factory.mktemp("train"), "train_config")
