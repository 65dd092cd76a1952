"""Laws of the schedules; their numbers are in test_parity."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llava.model.language_model.diffusion.decoding import SCHEDULES
from llava.model.language_model.diffusion.schedule import num_transfer_tokens


@given(
    masked=st.lists(st.integers(0, 130), min_size=1, max_size=4),
    steps=st.integers(1, 140),
    schedule=st.sampled_from([None, *SCHEDULES]),
)
def test_every_token_is_dealt_once_and_no_step_before_the_end_is_idle(masked, steps, schedule):
    plan = num_transfer_tokens(masked, steps, schedule)
    assert plan.shape == (len(masked), steps)
    assert plan.sum(1).tolist() == masked
    for row, total in zip(plan.tolist(), masked, strict=True):
        used = min(steps, total)
        assert all(count >= 1 for count in row[:used])
        assert not any(row[used:])


def test_a_row_does_not_depend_on_its_batch_mates():
    together = num_transfer_tokens([32, 7, 19], 8, "shift")
    for row, masked in enumerate([32, 7, 19]):
        assert together[row].tolist() == num_transfer_tokens([masked], 8, "shift")[0].tolist()


def test_shift_defaults_to_a_third_which_settles_most_first():
    counts = num_transfer_tokens([32], 4, "shift")[0].tolist()
    assert counts == num_transfer_tokens([32], 4, "shift", {"shift": 1 / 3})[0].tolist()
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


@pytest.mark.parametrize(
    ("schedule", "settings", "named"),
    [
        ("shfit", None, "shfit"),
        ("shift", {"shift": 0}, "shift"),
        ("shift", {"shift": True}, "True"),
        ("shift", {"shfit": 3}, "shfit"),
        ("cosine", {"shift": 3}, "cosine"),
    ],
)
def test_wrong_settings_are_named(schedule, settings, named):
    with pytest.raises(ValueError, match=named):
        num_transfer_tokens([4], 2, schedule, settings)


def test_at_least_one_step():
    with pytest.raises(ValueError, match="at least one"):
        num_transfer_tokens([4], 0)
