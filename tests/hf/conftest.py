"""Models and processors as transformers' auto classes load them, shared by the tests of this folder."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForImageTextToText, AutoProcessor

import llava.hf  # noqa: F401


def load(directory: Path, **options: Any) -> tuple[Any, Any]:
    """(processor, model) of a checkpoint's directory."""
    return (
        AutoProcessor.from_pretrained(directory, **options),
        AutoModelForImageTextToText.from_pretrained(directory, **options),
    )


@pytest.fixture(scope="session")
def stock(tiny_checkpoint: Path) -> tuple[Any, Any]:
    """A checkpoint without settings of SHIRG-X: LaViDa's own encoding. Leave the model as it is."""
    return load(tiny_checkpoint)


@pytest.fixture(scope="module")
def chosen(quick: Path) -> tuple[Any, Any]:
    """A checkpoint whose settings apply SHIRG-X. Leave the model as it is."""
    return load(quick)
