"""Backbones by the model type of a checkpoint."""

import json
from pathlib import Path

import pytest

from llava.inference.session import Session
from llava.model.config_file import read_config_file
from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.model.language_model.registry import BACKBONES


def test_each_is_a_lavida_model_whose_config_has_its_name() -> None:
    for name, entry in BACKBONES.items():
        kind = entry.resolve()
        assert issubclass(kind, LavidaForMaskedDiffusion)
        assert kind.config_class.model_type == name


def test_an_unknown_one_is_refused_naming_those_that_are_known(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llava_other"}')
    for read in (read_config_file, lambda path: Session.load(path, device="cpu")):
        with pytest.raises(ValueError, match="describes 'llava_other', not a LaViDa model") as refused:
            read(tmp_path)
        assert all(name in str(refused.value) for name in BACKBONES)


@pytest.mark.parametrize(
    ("text", "words"), [("[]", "describes 'list'"), ("{}", "describes 'None'"), ("{", "is not valid JSON")]
)
def test_a_config_without_one_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_config_file(tmp_path)


def test_a_known_one_is_read_as_it_is(tmp_path: Path) -> None:
    for name in BACKBONES:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": name, "more": [1, 2]}))
        assert read_config_file(tmp_path) == {"model_type": name, "more": [1, 2]}
