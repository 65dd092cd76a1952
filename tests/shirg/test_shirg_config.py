"""A configuration is either valid or never made, and its message says what to mend."""

import json
import math
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest
import yaml

from shirg.config import ShirgXConfig

CONFIGS = Path(__file__).parent.parent.parent / "configs"


def test_the_default_file_states_every_default():
    path = CONFIGS / "shirg_x.yaml"
    assert ShirgXConfig.from_yaml(path) == ShirgXConfig()
    assert set(yaml.safe_load(path.read_text())) == {field.name for field in fields(ShirgXConfig)}


def test_the_fallback_file_changes_the_similarity_only():
    fallback = ShirgXConfig.from_yaml(CONFIGS / "shirg_x_attention.yaml")
    assert fallback == ShirgXConfig(similarity="attention")


def test_derived_counts():
    config = ShirgXConfig(grid=15, scaffold_factor=5, budgets=(31, 47))
    assert (config.num_patches, config.scaffold_tokens) == (225, 9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "on"}, "mode must be one of shirg_x, stock"),
        ({"mode": True}, "mode must be one of"),
        ({"resize": "crop"}, "resize must be one of"),
        ({"similarity": "clip"}, "similarity must be one of auto, projected, siglip, attention, learned"),
        ({"neighbor": ["anchor"]}, "neighbor must be one of"),
        ({"grid": "48"}, "grid must be a whole number of at least 1, got '48'"),
        ({"grid": True}, "grid must be a whole number"),
        ({"grid": 48.0}, "grid must be a whole number"),
        ({"grid": 0}, "grid must be a whole number of at least 1"),
        ({"scaffold_factor": 5}, "scaffold_factor must divide grid, got 5 and 48"),
        ({"scaffold_factor": 0}, "scaffold_factor must be a whole number of at least 1"),
        ({"min_per_cell": -1}, "min_per_cell must be a whole number of at least 0"),
        ({"min_per_cell": 4}, "min_per_cell of 4 for 144 cells asks for more tokens than the smallest budget, 512"),
        ({"coordinate_dim": 0}, "coordinate_dim must be"),
        ({"relevance_dim": "wide"}, "relevance_dim must be"),
        ({"relevance_dim": 10, "relevance_heads": 4}, "relevance_heads must divide relevance_dim, got 4 and 10"),
        ({"similarity_weight": math.nan}, "similarity_weight must be a finite number of at least 0"),
        ({"similarity_weight": math.inf}, "similarity_weight must be a finite number"),
        ({"neighbor_weight": -0.1}, "neighbor_weight must be a finite number of at least 0"),
        ({"center_weight": True}, "center_weight must be a finite number"),
        ({"merge_epsilon": "5e-2"}, "merge_epsilon must be a finite number of at least 0.0, got '5e-2'"),
        ({"merge_cosine": 1.1}, "merge_cosine must be a finite number from -1.0 to 1.0"),
        ({"merge": "yes"}, "merge must be true or false"),
        ({"scaffold": 1}, "scaffold must be true or false"),
        ({"coordinates": None}, "coordinates must be true or false"),
        ({"coordinates_on_scaffold": 0}, "coordinates_on_scaffold must be true or false"),
        ({"debug": "false"}, "debug must be true or false"),
        ({"budgets": ()}, "budgets must be a list of at least one whole number"),
        ({"budgets": "512"}, "budgets must be a list"),
        ({"budgets": 512}, "budgets must be a list"),
        ({"budgets": (512, True)}, "each of budgets must be a whole number"),
        ({"budgets": (0, 512)}, "each of budgets must be a whole number of at least 1"),
        ({"budgets": (768, 512)}, "budgets must ascend without repeats"),
        ({"budgets": (512, 512)}, "budgets must ascend without repeats"),
        ({"budgets": (512, 2305)}, "budgets must not exceed the 2304 patches"),
        ({"budget": 513}, "budget must be auto, question or one of 32, 64, 128, 256, 512, 768, 1024, got 513"),
        ({"budget": 512.0}, "budget must be auto, question or one of"),
        ({"budget": "512"}, "budget must be auto, question or one of"),
        ({"budgets": (1, 2), "budget": True, "scaffold_factor": 48}, "budget must be auto, question or one of"),
    ],
)
def test_bad_values_are_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        ShirgXConfig(**changes)


def test_the_edges_of_every_range_are_allowed():
    ShirgXConfig(budgets=(432, 2304), budget=2304, min_per_cell=3, merge_epsilon=0.0, merge_cosine=-1.0)
    ShirgXConfig(grid=1, scaffold_factor=1, budgets=(1,), center_weight=0.0, merge_cosine=1.0)


def test_values_from_yaml_equal_values_from_python():
    assert ShirgXConfig.from_dict({"budgets": [512, 768], "center_weight": 1}) == ShirgXConfig(
        budgets=(512, 768), center_weight=1.0
    )
    assert isinstance(ShirgXConfig(center_weight=1).center_weight, float)


def test_it_cannot_be_changed_in_place():
    with pytest.raises(FrozenInstanceError):
        ShirgXConfig().grid = 12


@pytest.mark.parametrize(("key", "closest"), [("budgett", "budget"), ("neighbour", "neighbor"), (7, "")])
def test_an_unknown_key_names_the_closest_known_one(key, closest):
    with pytest.raises(ValueError, match=rf"unknown setting {key!r}; did you mean '{closest}"):
        ShirgXConfig.from_dict({key: 1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grid: [", "is not valid YAML"),
        (b"mode: \xff", "is not valid YAML"),
        ("", "settings must be"),
        ("- grid", "settings must be"),
        ("grid: 7", "scaffold_factor must divide grid"),
        ("gird: 48", "did you mean 'grid'"),
    ],
)
def test_a_bad_file_is_named(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message) as caught:
        ShirgXConfig.from_yaml(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    for path in (tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(FileNotFoundError, match=str(path)):
            ShirgXConfig.from_yaml(path)


def test_round_trip_through_yaml(tmp_path):
    config = ShirgXConfig(grid=12, scaffold_factor=3, budgets=(7, 11), budget=11, merge=False, center_weight=0.3)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config.to_dict()))
    assert ShirgXConfig.from_yaml(str(path)) == config
    assert json.loads(json.dumps(config.to_dict())) == config.to_dict()


def test_replace_checks_anew():
    assert ShirgXConfig().replace(budget=768) == ShirgXConfig(budget=768)
    with pytest.raises(ValueError, match="budget must be"):
        ShirgXConfig(budget=768).replace(budgets=(512,), question_budgets=(32,))
    with pytest.raises(ValueError, match="did you mean 'budget'"):
        ShirgXConfig().replace(budgett=512)


def test_another_grid_keeps_the_shares():
    small = ShirgXConfig(budget=768, debug=True).for_grid(12)
    asked = (2, 4, 8, 16, 32, 48, 64)
    assert small == ShirgXConfig(grid=12, budgets=(32, 48, 64), question_budgets=asked, budget=48, debug=True)
    assert ShirgXConfig().for_grid(48) == ShirgXConfig()
    assert ShirgXConfig().for_grid(12).budget == "auto"


@pytest.mark.parametrize(
    ("grid", "message"), [(13, "must divide"), (4, "smallest budget|ascend"), ("12", "grid must be a whole number")]
)
def test_a_grid_that_does_not_fit_is_refused(grid, message):
    with pytest.raises(ValueError, match=message):
        ShirgXConfig(scaffold_factor=2, budgets=(1, 2, 1024)).for_grid(grid)
