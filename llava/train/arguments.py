"""The names of transformers' training settings, told without importing transformers."""

import ast
from collections.abc import Collection, Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def trainer_settings() -> frozenset[str]:
    """The fields of transformers' ``TrainingArguments``.

    They are read off its source: importing it takes seconds, which nobody should wait for to be told of a misspelling.
    """
    package = find_spec("transformers")
    assert package is not None
    assert package.origin is not None
    source = Path(package.origin).with_name("training_args.py").read_text(encoding="utf-8")
    (described,) = (
        node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == "TrainingArguments"
    )
    return frozenset(
        node.target.id
        for node in described.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    )


def check_trainer(settings: Iterable[str], *, own: Collection[str]) -> None:
    """Refuse a setting that transformers' trainer does not have, or that is the configuration's ``own``.

    Raises:
        ValueError: naming it.
    """
    if unknown := sorted(set(settings) - (trainer_settings() - set(own))):
        raise ValueError(f"trainer: unknown setting {unknown[0]!r}; see transformers' TrainingArguments")
