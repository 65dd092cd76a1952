"""No setting is accepted that nothing reads: neither of this project's own, nor of transformers' trainer."""

import ast
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
import transformers
from transformers import Trainer

from llava.data.crop_config import CropsConfig
from llava.data.infill import InfillConfig
from llava.data.page_config import PagesConfig
from llava.train.arguments import UNSUPPORTED, WITHOUT_EFFECT, trainer_settings
from llava.train.config import _OWN, RealSetConfig, TrainConfig
from llava.train.guarded import GuardedTrainer
from llava.train.losses.config import LossConfig
from llava.train.reading.config import ReadingConfig
from llava.train.trainer import MaskedDiffusionTrainer
from llava.tuning.config import TrainableConfig
from shirg.config import ShirgXConfig
from shirg.settings import Settings

ROOT = Path(__file__).parent.parent.parent
SECTIONS = (
    *(TrainConfig, RealSetConfig, PagesConfig, ShirgXConfig, TrainableConfig, LossConfig, InfillConfig),
    *(ReadingConfig, CropsConfig),
)


def reads_of(tree: ast.AST, *, skip: Iterable[str] = ()) -> Iterator[str]:
    """Names of attributes that code reads, outside of the functions to be skipped."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef) and node.name in skip:
            continue
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield node.attr
        yield from reads_of(node, skip=skip)


def files() -> Iterator[Path]:
    yield from (ROOT / "llava").rglob("*.py")
    yield from (ROOT / "shirg").rglob("*.py")
    yield ROOT / "lavida_shirg_integration.py"


@pytest.fixture(scope="module")
def own_reads() -> set[str]:
    # Checks read settings too, and do nothing with them.
    return {name for path in files() for name in reads_of(ast.parse(path.read_text()), skip=("__post_init__",))}


def unread(section: type[Settings], reads: set[str]) -> list[str]:
    return [entry.name for entry in fields(section) if entry.name not in reads]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_setting_of_a_section_is_read(section: type[Settings], own_reads: set[str]) -> None:
    assert unread(section, own_reads) == []


def test_a_setting_that_nothing_reads_would_be_found(own_reads: set[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Planted(Settings):
        seed: int = 0
        setting_that_nobody_ever_reads: int = 0

        def __post_init__(self) -> None:
            self.check_count("setting_that_nobody_ever_reads", 0)

    assert unread(Planted, own_reads) == ["setting_that_nobody_ever_reads"]


OVERRIDDEN = {
    name
    for kind in (GuardedTrainer, MaskedDiffusionTrainer)
    for name, function in vars(kind).items()
    if inspect.isfunction(function) and "super()" not in inspect.getsource(function)
}
"""What of transformers' Trainer is replaced and not called from its replacement."""
UNREACHED = {
    *("evaluation_loop", "predict", "prediction_step", "get_eval_dataloader", "get_test_dataloader"),
    *("_load_best_model", "_determine_best_metric", "get_optimizer_cls_and_kwargs", "_track_num_input_tokens"),
    *(
        "init_hf_repo",
        "push_to_hub",
        "create_model_card",
        "_push_from_checkpoint",
        "hyperparameter_search",
        "__post_init__",
    ),
    *(
        "to_dict",
        "to_sanitized_dict",
        "set_training",
        "set_evaluate",
        "set_testing",
        "set_optimizer",
        "set_push_to_hub",
    ),
    *("set_save", "set_logging", "set_lr_scheduler", "set_dataloader"),
}
"""What a run never calls, or only to check."""
ACTED_ON = {"deepspeed", "tf32", "bf16", "torch_compile", "torch_compile_backend", "torch_compile_mode"}
"""Settings that ``TrainingArguments`` acts on as it is made."""


def read_by_transformers() -> set[str]:
    home = Path(inspect.getfile(transformers)).parent
    names = ("trainer.py", "trainer_callback.py", "training_args.py", "integrations/integration_utils.py")
    skip = OVERRIDDEN | UNREACHED
    return {name for file in names for name in reads_of(ast.parse((home / file).read_text()), skip=skip)}


def read_by_own_trainers() -> set[str]:
    return {name for path in (ROOT / "llava" / "train").rglob("*.py") for name in reads_of(ast.parse(path.read_text()))}


def test_every_setting_of_the_trainer_is_read_or_refused() -> None:
    assert {"compute_loss", "create_optimizer", "evaluate"} <= OVERRIDDEN
    accepted = trainer_settings() - set(WITHOUT_EFFECT) - set(UNSUPPORTED) - set(_OWN)
    read = read_by_transformers() | read_by_own_trainers() | ACTED_ON
    assert sorted(accepted - read) == []
    assert "weight_decay" not in read_by_transformers(), "the optimizer of transformers is replaced"


def test_what_is_refused_exists_and_is_explained() -> None:
    known = {entry.name for entry in fields(transformers.TrainingArguments)}
    for table in (WITHOUT_EFFECT, UNSUPPORTED):
        assert set(table) <= known
        assert all(words and words[0] != " " for words in table.values())
    assert {"learning_rate", "weight_decay", "load_best_model_at_end"} <= set(WITHOUT_EFFECT)
    assert issubclass(MaskedDiffusionTrainer, Trainer)
