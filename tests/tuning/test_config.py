"""The choice of what trains: wrong values are named without a model, and plain values give it back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llava.tuning.parameters import (
    GROUPS,
    TrainableConfig,
)


class TestConfig:
    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"scope": "projectors"}, "scope must be one of"),
            ({"coord": "both"}, "coord must be one of lora, full"),
            ({"rank": 0}, "rank must be a whole number"),
            ({"rank": True}, "rank must be a whole number"),
            ({"rank": None}, "rank must be a whole number"),
            ({"coord_rank": 2.5}, "coord_rank"),
            ({"language_rank": -1}, "language_rank"),
            ({"alpha_per_rank": 0}, "alpha_per_rank must be a number above 0"),
            ({"dropout": 1.0}, "dropout must be a number of at least 0 and below 1"),
            ({"weight_decay": float("nan")}, "weight_decay"),
            ({"weight_decay": "1e-2"}, "1.0e-3"),
            ({"trainable_dtype": "float16"}, "trainable_dtype"),
            ({"projector_layers": "mm_projector.0"}, "list"),
            ({"projector_layers": []}, "at least one"),
            ({"projector_layers": [["mm_projector.0"]]}, "at least one"),
            ({"projector_layers": ["mm_projector.0", "mm_projector.fc1"]}, "once"),
            ({"learning_rates": {"projecter": 1e-3}}, "the groups are projector, tower"),
            ({"learning_rates": {"tower": 0}}, "the learning rate of tower must be a number above 0"),
            ({"learning_rates": 1e-3}, "pairs"),
            ({"muon": 0.02, "scope": "everything"}, "muon must be 'group: number' pairs"),
            ({"muon": {"projector": 0.02}, "scope": "everything"}, "of tower and language"),
            ({"muon": {"tower": 0}, "scope": "everything"}, "muon's learning rate of tower"),
            ({"muon": {"tower": 0.02}}, "scope 'shirg_x' does not train"),
            ({"ranks": 3}, "did you mean 'rank'"),
        ],
        ids=str,
    )
    def test_bad_values_are_named(self, values, message):
        with pytest.raises(ValueError, match=message):
            TrainableConfig.from_dict(values)

    @settings(max_examples=20, deadline=None)
    @given(
        values=st.fixed_dictionaries(
            {},
            optional={
                "scope": st.sampled_from(["projector", "everything", "shirg_x", "shirg_x_expanded"]),
                "rank": st.integers(1, 99),
                "language_rank": st.none() | st.integers(1, 99),
                "projector_layers": st.sampled_from([["mm_projector.fc2"], ["mm_projector.0", "mm_projector.fc2"]]),
                "learning_rates": st.dictionaries(st.sampled_from(list(GROUPS)), st.floats(1e-6, 1.0)),
                "dropout": st.floats(0.0, 0.99),
            },
        )
    )
    def test_plain_values_give_the_same_config_back(self, values):
        config = TrainableConfig.from_dict(values)
        assert TrainableConfig.from_dict(config.to_dict()) == config
        assert set(config.projector_layers) <= {"mm_projector.0", "mm_projector.2"}
        assert all(config.learning_rate(group) == rate for group, rate in values.get("learning_rates", {}).items())
