"""Intervals and tests against closed forms, plain loops and simulated data of known truth."""

import itertools
import math

import numpy as np
import pytest

from llava.eval.statistics import bootstrap_difference, bootstrap_mean, rank_correlation, sign_flip_test


def rng(seed=0):
    return np.random.default_rng(seed)


def clustered(generator, pages=40, largest=5, spread=1.0):
    """Scores that share a page's luck, and the page of each."""
    sizes = generator.integers(1, largest + 1, pages)
    index = np.repeat(np.arange(pages), sizes)
    return generator.normal(0, spread, pages)[index] + generator.normal(0, 0.3, len(index)), index


class TestBootstrap:
    def test_agrees_with_the_standard_error_of_independent_means(self):
        scores = rng(1).normal(3.0, 2.0, 400)
        interval = bootstrap_mean(scores, range(400), generator=rng())
        error = 1.959964 * scores.std() / math.sqrt(400)
        assert interval.estimate == pytest.approx(scores.mean())
        assert interval.confidence == 0.95
        assert interval.low == pytest.approx(scores.mean() - error, abs=0.06 * error)
        assert interval.high == pytest.approx(scores.mean() + error, abs=0.06 * error)

    def test_two_pages_have_four_resamples(self):
        # Pages of one and three questions: (0), (1, 1, 1). Means are 0, 1 and, in half of the draws, 3/4.
        low, high = (
            bootstrap_mean([0, 1, 1, 1], "abbb", generator=rng(), confidence=confidence) for confidence in (0.6, 0.4)
        )
        assert (low.estimate, low.low, low.high) == (0.75, 0.0, 1.0)
        assert (high.low, high.high) == (0.75, 0.75)

    def test_follows_plain_loops(self):
        scores, index = clustered(rng(2), pages=7)
        interval = bootstrap_mean(scores, index, generator=rng(3), resamples=500, confidence=0.8)
        generator, means = rng(3), []
        for _ in range(500):
            drawn = [scores[index == page] for page in generator.integers(7, size=7)]
            means.append(np.concatenate(drawn).mean())
        np.testing.assert_allclose([interval.low, interval.high], np.quantile(means, [0.1, 0.9]))

    def test_covers_the_truth_as_often_as_it_says_only_if_pages_are_drawn(self):
        generator, by_page, by_question, trials = rng(4), 0, 0, 300
        for _ in range(trials):
            scores, index = clustered(generator)
            one = bootstrap_mean(scores, index, generator=generator, resamples=300, confidence=0.9)
            other = bootstrap_mean(scores, range(len(scores)), generator=generator, resamples=300, confidence=0.9)
            by_page += one.low <= 0 <= one.high
            by_question += other.low <= 0 <= other.high
        # The standard error of a share of 0.9 in 300 trials is 0.017.
        assert 0.84 < by_page / trials < 0.95
        assert by_question / trials < 0.75

    def test_differences_are_paired(self):
        noise, index = clustered(rng(5))
        lifted = noise + 0.25
        interval = bootstrap_difference(lifted, noise, index, generator=rng())
        np.testing.assert_allclose([interval.estimate, interval.low, interval.high], 0.25)
        shuffled = bootstrap_difference(lifted, rng(6).permutation(noise), index, generator=rng())
        assert shuffled.low < 0.0 < shuffled.high

    def test_names_and_order_of_pages_do_not_matter(self):
        scores, index = clustered(rng(7), pages=5)
        order = np.argsort(index, kind="stable")
        named = bootstrap_mean(scores[order], [f"page {9 - page}" for page in index[order]], generator=rng(8))
        assert named == bootstrap_mean(scores, index, generator=rng(8))

    def test_blocks_change_nothing(self, monkeypatch):
        scores, index = clustered(rng(9))
        whole = bootstrap_mean(scores, index, generator=rng(8), resamples=101)
        monkeypatch.setattr("llava.eval.statistics._NUMBERS_AT_ONCE", 7 * 40)
        assert bootstrap_mean(scores, index, generator=rng(8), resamples=101) == whole


class TestSignFlip:
    @pytest.mark.parametrize("pages", [2, 5, 9])
    def test_unanimous_pages_leave_two_ways_out_of_all(self, pages):
        first = np.ones(2 * pages)
        assert sign_flip_test(first, 0 * first, [*range(pages)] * 2, generator=rng()) == 2 / 2**pages

    def test_exact_value_follows_plain_loops(self):
        scores, index = clustered(rng(10), pages=8)
        second = scores - 0.4 - rng(11).normal(size=len(scores))
        sums = [sum((scores - second)[index == page]) for page in range(8)]
        hits = sum(
            abs(sum(sign * value for sign, value in zip(signs, sums, strict=True))) >= abs(sum(sums)) - 1e-9
            for signs in itertools.product((1, -1), repeat=8)
        )
        assert 2 < hits < 256
        assert sign_flip_test(scores, second, index, generator=rng()) == hits / 256

    def test_drawn_and_counted_values_agree(self):
        first, index = clustered(rng(12), pages=12)
        second = first - 0.3 - rng(13).normal(size=len(first))
        exact = sign_flip_test(first, second, index, generator=rng(), permutations=4096)
        drawn = sign_flip_test(first, second, index, generator=rng(), permutations=4095)
        assert 0.001 < exact < 0.5
        assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact / 4095))
        assert drawn != exact

    def test_drawn_value_is_never_zero(self):
        first = np.ones(100)
        assert sign_flip_test(first, 0 * first, range(100), generator=rng(), permutations=99) == 0.01

    def test_no_difference_is_no_evidence(self):
        scores, index = clustered(rng(14))
        assert sign_flip_test(scores, scores, index, generator=rng()) == 1.0
        assert sign_flip_test(scores, scores, index % 3, generator=rng()) == 1.0

    def test_rejects_a_true_null_as_seldom_as_it_says(self):
        generator, rejected, trials = rng(15), 0, 400
        for _ in range(trials):
            scores, index = clustered(generator, pages=15)
            noise = generator.normal(0, 1, 15)[index]
            rejected += sign_flip_test(scores, scores + noise, index, generator=generator, permutations=200) <= 0.1
        assert 0.05 < rejected / trials < 0.16

    def test_blocks_change_nothing(self, monkeypatch):
        first, index = clustered(rng(16), pages=10)
        second = first + rng(17).normal(0.2, 1, len(first))
        runs = [sign_flip_test(first, second, index, generator=rng(), permutations=count) for count in (1024, 901)]
        monkeypatch.setattr("llava.eval.statistics._NUMBERS_AT_ONCE", 70)
        again = [sign_flip_test(first, second, index, generator=rng(), permutations=count) for count in (1024, 901)]
        assert again == runs


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap_mean([1, 2], "a", generator=rng()), "2 scores need the page of each, got 1"),
        (lambda: bootstrap_mean([1, 2], "aa", generator=rng()), "from 1 page; give at least 2"),
        (lambda: bootstrap_mean([], "", generator=rng()), "scores must be a list of finite numbers"),
        (lambda: bootstrap_mean([[1, 2]], "ab", generator=rng()), "scores must be a list of finite numbers"),
        (lambda: bootstrap_mean([1, math.nan], "ab", generator=rng()), "scores must be a list of finite numbers"),
        (lambda: bootstrap_mean([1, 2], "ab", generator=rng(), resamples=0), "resamples must be at least 1"),
        (lambda: bootstrap_mean([1, 2], "ab", generator=rng(), confidence=95), "confidence must lie between 0 and 1"),
        (lambda: bootstrap_difference([1, 2], [1], "ab", generator=rng()), "got 2 and 1 scores"),
        (lambda: bootstrap_difference([1, 2], [1, math.inf], "ab", generator=rng()), "second must be a list"),
        (lambda: sign_flip_test([1, 2], [1, 2], "ab", generator=rng(), permutations=0), "permutations must be"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_rank_correlation_of_a_worked_example() -> None:
    """1 - 6 sum d^2 / (n (n^2 - 1)) where no values tie; ties share the mean of their ranks."""
    iq, hours = [106, 86, 100, 101, 99, 103, 97, 113, 112, 110], [7, 0, 27, 50, 28, 29, 20, 12, 6, 17]
    assert rank_correlation(iq, hours) == pytest.approx(1 - 6 * 194 / 990)
    assert rank_correlation([1, 2, 3], [10, 20, 500]) == pytest.approx(1)
    tied = np.corrcoef([1.5, 1.5, 3, 4], [2, 1, 3.5, 3.5])[0, 1]
    assert rank_correlation([5, 5, 6, 7], [0.2, 0.1, 0.3, 0.3]) == pytest.approx(tied)
    with pytest.raises(ValueError, match="a constant has no ranks"):
        rank_correlation([1, 1], [1, 2])
    with pytest.raises(ValueError, match="got 2 and 3"):
        rank_correlation([1, 2], [1, 2, 3])
