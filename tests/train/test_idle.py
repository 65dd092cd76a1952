"""Settings that a run would not read are told; those that it reads are not."""

from types import SimpleNamespace
from typing import Any

import pytest

from llava.train.config import TrainConfig
from llava.train.idle import idle_settings
from llava.train.train import _check_engine as check_engine

PAGES = {"families": ["entity_grid"], "style": "shapes", "pages": 6}
RECORDS: dict[str, Any] = {"model": "m", "out": "o", "mixture": "d.json", "shirg_x": {"similarity": "learned"}}


class Engine(dict):
    """As transformers reads DeepSpeed's file."""

    get_value = dict.get

    def is_zero3(self) -> bool:
        return False


GROUPS = ("projector", "coordinates", "budget_head", "relevance")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trainable": {"learning_rates": {"language": 5.0}}}, "trainable: learning_rates: language has no effect"),
        ({"trainable": {"language_rank": 7}}, "trainable: language_rank has no effect outside of scope shirg_x_exp"),
        ({"trainable": {"coord": "full", "coord_rank": 7}}, "trainable: coord_rank has no effect with coord: full"),
        (
            {"trainable": {"scope": "everything", "dropout": 0.5}},
            "trainable: dropout has no effect in scope everything",
        ),
        ({"losses": {"budget": 0, "budget_every": 7}}, "losses: budget_every has no effect where the budget head"),
        ({"shirg_x": None, "losses": {"budget_memory": 7}}, "losses: budget_memory has no effect where the budget"),
        (
            {"losses": {"budget_teacher": "evidence", "budget_every": 7}},
            "losses: budget_every has no effect where evidence teaches",
        ),
        ({"losses": {"relevance": 0, "relevance_teacher": "gate"}}, "losses: relevance_teacher has no effect where"),
        ({"losses": {"grounding_heads": 1}}, "losses: grounding_heads has no effect without grounding"),
        (
            {"losses": {"relevance_teacher": "gate", "pointing_layers": [0]}},
            "losses: pointing_layers has no effect where no attention is",
        ),
        ({"validation_budgets": [768]}, "validation_budgets has no effect without validation or held_out"),
        (
            {"mixture": None, "pages": PAGES, "max_missing_images": 0.5},
            "max_missing_images has no effect on drawn pages",
        ),
    ],
)
def test_what_changes_nothing_is_told(changes: dict[str, Any], words: str) -> None:
    (found,) = idle_settings(TrainConfig.from_dict(RECORDS | changes), GROUPS)
    assert found.startswith(words)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"trainable": {"learning_rates": {"projector": 5.0}, "rank": 7, "coord_rank": 3, "dropout": 0.1}},
        {"trainable": {"scope": "shirg_x_expanded", "language_rank": 7}},
        {"losses": {"budget_every": 7, "budget_memory": 3, "pointing_layers": [0]}},
        {"held_out": 3, "validation_budgets": [768], "max_missing_images": 0.5},
        {"mixture": None, "pages": PAGES, "losses": {"grounding": 1, "grounding_heads": 1}},
    ],
)
def test_what_is_read_is_not(changes: dict[str, Any]) -> None:
    assert idle_settings(TrainConfig.from_dict(RECORDS | changes), GROUPS) == []


@pytest.mark.parametrize("section", ["optimizer", "scheduler"])
def test_a_part_of_deepspeed_s_file_that_replaces_what_was_set_is_refused(section: str) -> None:
    engine = Engine({"zero_optimization": {"stage": 2}, section: {"type": "Adam", "params": {"lr": 5.0}}})
    config = TrainConfig.from_dict(RECORDS | {"trainer": {"deepspeed": "mine.json"}})
    with pytest.raises(ValueError, match=f"its {section} would take the place of .* out of mine.json"):
        check_engine(config, SimpleNamespace(hf_deepspeed_config=engine))


def test_spelled_answers_of_records_are_refused() -> None:
    with pytest.raises(ValueError, match="answers: spelled is of drawn pages"):
        TrainConfig.from_dict(RECORDS | {"answers": "spelled"})
