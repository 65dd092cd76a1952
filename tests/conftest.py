"""Fixtures shared by all tests: quiet threads, a fixed seed, and small checkpoints in the released format."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    torch.manual_seed(0)
