"""Confidence against the share of right answers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llava.metrics.calibration import expected_calibration_error, mostly_wrong_below

unit = st.floats(0, 1)


def by_hand(confidences, scores, bins):
    error = 0.0
    for number in range(bins):
        inside = [
            (sure, right)
            for sure, right in zip(confidences, scores, strict=True)
            if math.floor(sure * bins) == number or (number == bins - 1 and sure == 1)
        ]
        if inside:
            sure, right = (sum(values) / len(inside) for values in zip(*inside, strict=True))
            error += len(inside) / len(confidences) * abs(sure - right)
    return error


@given(answers=st.lists(st.tuples(unit, unit), min_size=1, max_size=40), bins=st.integers(1, 13))
def test_it_is_the_weighted_gap_of_its_bins(answers, bins):
    confidences, scores = zip(*answers, strict=True)
    found = expected_calibration_error(confidences, scores, bins=bins)
    assert found == pytest.approx(by_hand(confidences, scores, bins), abs=1e-9)
    assert 0 <= found <= 1


@pytest.mark.parametrize(
    ("confidences", "scores", "error"),
    [
        ([1.0] * 4, [1, 1, 1, 1], 0.0),
        ([1.0] * 4, [0, 0, 0, 0], 1.0),
        ([0.75] * 4, [1, 1, 1, 0], 0.0),
        ([0.9, 0.9, 0.1, 0.1], [1, 0, 0, 0], 0.25),
    ],
)
def test_known_cases(confidences, scores, error):
    assert expected_calibration_error(confidences, scores) == pytest.approx(error)


@pytest.mark.parametrize(
    ("confidences", "scores"), [([], []), ([0.5], [1, 0]), ([1.5], [1]), ([float("nan")], [1]), ([0.5], [-1])]
)
def test_bad_input_is_refused(confidences, scores):
    with pytest.raises(ValueError, match=r"confidence"):
        expected_calibration_error(confidences, scores)


@given(
    answers=st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), st.sampled_from([0, 1])), min_size=1)
)
def test_below_it_fewer_than_half_are_right_and_below_no_higher_one(answers):
    confidences, scores = zip(*answers, strict=True)
    limit = mostly_wrong_below(confidences, scores)

    def mostly_wrong(bound):
        below = [right for sure, right in answers if sure < bound]
        return bool(below) and sum(below) < len(below) / 2

    assert limit == 0 or mostly_wrong(limit)
    assert not any(mostly_wrong(bound) for bound in {*confidences, 1.0} if bound > limit)


@pytest.mark.parametrize(
    ("confidences", "scores", "limit"),
    [
        ([0.2, 0.4, 0.6, 0.8], [0, 0, 1, 1], 0.8),
        ([0.2, 0.4, 0.6, 0.8], [0, 1, 1, 1], 0.4),
        ([0.2, 0.4, 0.6, 0.8], [1, 1, 1, 1], 0.0),
        ([0.2, 0.4, 0.6, 0.8], [0, 0, 0, 0], 1.0),
    ],
)
def test_the_confidence_below_which_most_are_wrong(confidences, scores, limit):
    assert mostly_wrong_below(confidences, scores) == limit
