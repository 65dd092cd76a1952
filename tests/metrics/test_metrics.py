"""Metrics against worked examples, slow twins and what they must refuse."""

import itertools
import math
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llava.metrics import (
    METRICS,
    anls,
    cider,
    contains,
    contains_formula,
    exact_match,
    relaxed_accuracy,
    token_f1,
    vqa_accuracy,
)

FEW_LETTERS = st.text("ab1. ", max_size=7)
quick = settings(max_examples=60, deadline=None, derandomize=True)


@pytest.mark.parametrize("name", METRICS)
class TestEveryMetric:
    @quick
    @given(prediction=st.text(max_size=9), golds=st.lists(st.text(max_size=9), min_size=4, max_size=6))
    def test_lies_between_0_and_1_in_any_order_of_golds(self, name, prediction, golds):
        score = METRICS[name](prediction, golds)
        assert 0.0 <= score <= 1.0
        assert METRICS[name](prediction, golds[::-1]) == pytest.approx(score)

    @pytest.mark.parametrize("answer", ["42", "Blue star", "", "Å", "ÉCOLE", "12,345.6", "日本", "?", "the"])
    def test_the_gold_answer_itself_is_right_in_any_case(self, name, answer):
        for prediction in (
            answer,
            answer.upper(),
            answer.lower(),
            f"  {answer} ",
            unicodedata.normalize("NFD", answer),
        ):
            assert METRICS[name](prediction, [answer] * 4) == 1.0

    def test_an_empty_or_another_answer_is_wrong(self, name):
        for prediction in ("", "  ", "zebra"):
            assert METRICS[name](prediction, ["blue star"] * 4) == 0.0

    def test_no_gold_and_a_bare_string_are_refused(self, name):
        with pytest.raises(ValueError, match="at least one"):
            METRICS[name]("a", [])
        with pytest.raises(ValueError, match=r"write \['cats'\]"):
            METRICS[name]("a", "cats")


class TestRelaxedAccuracy:
    @pytest.mark.parametrize(
        ("prediction", "gold", "right"),
        [
            ("105", "100", True),
            ("95", "100", True),
            ("105.01", "100", False),
            ("94.99", "100", False),
            # In binary floats 1.05 - 1 is more than 0.05.
            ("1.05", "1", True),
            ("0.95", "1.0", True),
            ("-10.5", "-10", True),
            ("\u221210", "-10", True),
            ("10", "-10", False),
            ("+7", "7", True),
            ("1,234", "1234", True),
            ("1234567", "1,234,567.0", True),
            ("12,34", "1234", False),
            ("0", "0", True),
            ("0.001", "0", False),
            (".5", "0.5", True),
            ("5.", "5", True),
            ("50%", "50", True),
            ("50", "50 %", True),
            ("0.5", "50%", True),
            ("50%", "0.51", True),
            ("47%", "50%", False),
            ("48%", "50%", True),
            ("52.5", "50%", True),
            ("0.475", "50%", True),
            ("5", "50%", False),
            ("2015", "2015", True),
            ("2014", "2015", False),
            ("2015.0", "2015", True),
            ("2015%", "2015", False),
            ("2014", "2,015", True),
            ("2014", "2015.0", True),
            ("2014", "2015%", True),
            ("1799", "1799", True),
            ("1790", "1799", True),
            ("1801", "1800", False),
            ("2099", "2100", False),
            ("2100", "2101", True),
            ("Yes", "yes", True),
            ("yes.", "yes", False),
            ("nan", "5", False),
            ("1e1", "10", False),
            ("10 apples", "10", False),
            (".", "0", False),
            ("%", "0%", False),
        ],
    )
    def test_worked_examples(self, prediction, gold, right):
        assert relaxed_accuracy(prediction, [gold]) == float(right)

    def test_one_gold_is_enough(self):
        assert relaxed_accuracy("20", ["blue", "100", "20.5"]) == 1.0

    @quick
    @given(target=st.integers(1, 10**6), percent=st.integers(-20, 20))
    def test_numbers_within_a_twentieth_and_no_others(self, target, percent):
        gold = f"{target}.0"
        prediction = f"{target * (100 + percent) // 100}.{target * (100 + percent) % 100:02d}"
        assert relaxed_accuracy(prediction, [gold]) == float(abs(percent) <= 5)


def edits_by_recursion(first, second):
    """The definition: the cheapest of the three ways to deal with the last characters."""
    if not first or not second:
        return len(first) + len(second)
    return min(
        edits_by_recursion(first[:-1], second[:-1]) + (first[-1] != second[-1]),
        edits_by_recursion(first[:-1], second) + 1,
        edits_by_recursion(first, second[:-1]) + 1,
    )


class TestAnls:
    @quick
    @given(prediction=st.text("abc", max_size=5), golds=st.lists(st.text("abc", max_size=5), min_size=1, max_size=3))
    def test_follows_the_definition(self, prediction, golds):
        best = 0.0
        for gold in golds:
            distance = edits_by_recursion(prediction, gold) / max(len(prediction), len(gold), 1)
            best = max(best, 1 - distance if distance < 0.5 else 0.0)
        assert anls(prediction, golds) == pytest.approx(best)

    @pytest.mark.parametrize(
        ("prediction", "golds", "score"),
        [
            ("kitten", ["sitting"], 1 - 3 / 7),
            ("abcd", ["abxy"], 0.0),
            ("abcde", ["abcxy"], 0.6),
            ("Dr.  Smith", ["mr. jones", "dr. smith"], 1.0),
            ("1,234.50", ["1,234.60"], 1 - 1 / 8),
            # However Unicode spells it, an accent is one character with its letter.
            ("e\u0301cole", ["ecole"], 0.8),
            ("", ["abc"], 0.0),
        ],
    )
    def test_worked_examples(self, prediction, golds, score):
        assert anls(prediction, golds) == pytest.approx(score)


@pytest.mark.parametrize(
    ("prediction", "golds", "right"),
    [("New  york", ["new York"], True), ("new york.", ["new york"], False), ("b", ["a", "B"], True)],
)
def test_exact_match_forgives_case_and_spaces_only(prediction, golds, right):
    assert exact_match(prediction, golds) == float(right)


class TestContains:
    @pytest.mark.parametrize(
        ("prediction", "golds", "score"),
        [
            ("The word is CENTRE.", ["centre"], 1),
            ("centre", ["the word centre"], 0),
            ("It says coffee\nshop", ["Coffee Shop"], 1),
            ("coffeeshop", ["coffee shop"], 0),
            ("142", ["42"], 1),
            ("1 42", ["142"], 0),
            ("$ 5.20", ["7.40", "5.20"], 1),
            ("  ", [""], 1),
            ("anything", ["", " "], 0),
            ("anything", ["", "thing"], 1),
        ],
    )
    def test_worked_examples(self, prediction, golds, score):
        assert contains(prediction, golds) == score

    @pytest.mark.parametrize(
        ("prediction", "golds", "score"),
        [
            (r"\frac{1}{2}", [r"\frac { 1 } { 2 }"], 1),
            (r"$ \frac {1} {2} + x $", [r"\frac { 1 }" + "\n{ 2 }"], 1),
            ("a + X", ["a + x"], 0),
            ("a + x", ["a - x", "a + x"], 1),
            ("a", ["a + x"], 0),
            ("a", [" "], 0),
        ],
    )
    def test_formulas_keep_case_and_lose_spaces(self, prediction, golds, score):
        assert contains_formula(prediction, golds) == score

    def test_formulas_are_refused_as_words_are(self):
        with pytest.raises(ValueError, match="at least one"):
            contains_formula("a", [])


class TestTokenF1:
    @pytest.mark.parametrize(
        ("prediction", "golds", "score"),
        [
            ("row 6, column J", ["row 6, column A"], 0.75),
            ("row 6", ["row 6, column A"], 2 * 2 / 6),
            # Repeats count as often as the other side has them.
            ("red red red", ["red star"], 2 * 1 / 5),
            ("star", ["red circle", "red star"], 2 * 1 / 3),
            ("A red triangle.", ["red triangle"], 1.0),
            # A label that looks like an article is no article.
            ("A", ["A"], 1.0),
            ("", ["A"], 0.0),
            ("B", ["A"], 0.0),
            ("row, column 6", ["row A, column 6"], 2 * 3 / 7),
            ("row A,column 6", ["row A, column 6"], 1.0),
            ("3.5", ["35"], 0.0),
            ("21589.06", ["21,589.06"], 1.0),
            ("1,2", ["12"], 0.0),
            ("1,2", ["1 2"], 1.0),
            ("FZ-2616", ["FZ-2617"], 0.0),
            ("-5", ["5"], 0.0),
            ("\u22125", ["-5"], 1.0),
            ("26%", ["26"], 1.0),
            ("+", ["+"], 1.0),
            ("+", ["-"], 0.0),
        ],
    )
    def test_worked_examples(self, prediction, golds, score):
        assert token_f1(prediction, golds) == pytest.approx(score)

    @quick
    @given(given_words=st.lists(st.sampled_from("pqr"), min_size=1), gold=st.lists(st.sampled_from("pqr"), min_size=1))
    def test_follows_the_definition(self, given_words, gold):
        unmatched, shared = list(gold), 0
        for word in given_words:
            if word in unmatched:
                unmatched.remove(word)
                shared += 1
        precision, recall = shared / len(given_words), shared / len(gold)
        expected = 2 * precision * recall / (precision + recall) if shared else 0.0
        assert token_f1(" ".join(given_words), [" ".join(gold)]) == pytest.approx(expected)


class TestVqaAccuracy:
    @pytest.mark.parametrize(("agreeing", "score"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)])
    def test_published_scores_of_ten_people(self, agreeing, score):
        assert vqa_accuracy("blue", ["blue"] * agreeing + ["red"] * (10 - agreeing)) == pytest.approx(score)

    @quick
    @given(golds=st.lists(st.sampled_from("pqr"), min_size=4, max_size=9))
    def test_is_the_mean_over_all_subsets_that_leave_one_out(self, golds):
        subsets = list(itertools.combinations(golds, len(golds) - 1))
        expected = sum(min(1, subset.count("p") / 3) for subset in subsets) / len(subsets)
        assert vqa_accuracy("p", golds) == pytest.approx(expected)

    @pytest.mark.parametrize(
        ("prediction", "gold"),
        [
            ("Two dogs.", "2 dogs"),
            ("none", "0"),
            ("ten", "10"),
            ("the a cat", "cat"),
            ("dont", "don't"),
            ("DON\u2019T", "don't"),
            ("100,978", "100978"),
            ("3.5", "3.5."),
            ("red/blue", "red blue"),
            ("red,blue", "red, blue"),
            ("snow_board", "snow board"),
        ],
    )
    def test_spellings_that_are_the_same(self, prediction, gold):
        assert vqa_accuracy(prediction, [gold] * 4) == 1.0

    @pytest.mark.parametrize(
        ("prediction", "gold"),
        [
            ("2:50", "250"),
            ("3.5", "35"),
            ("girl's", "girls"),
            ("well", "we'll"),
            ("twos", "2s"),
            # The benchmark's list of punctuation has no signs of money, percent or number.
            ("$5", "5"),
            ("50%", "50"),
            ("#3", "3"),
            ("5", "\u20ac5"),
            ("a&b", "a b"),
        ],
    )
    def test_spellings_that_are_not(self, prediction, gold):
        assert vqa_accuracy(prediction, [gold] * 4) == 0.0

    def test_too_few_people_are_refused(self):
        with pytest.raises(ValueError, match="at least 4 people, got 3"):
            vqa_accuracy("a", ["a"] * 3)


CORPUS = [
    (
        "the red circle is left of the blue star",
        ["a red circle left of a blue star", "the red circle is to the left of the blue star"],
    ),
    (
        "revenue grew to 12.5 million in 2015",
        ["in 2015 revenue was 12.5 million", "revenue reached 12.5 million in 2015"],
    ),
    ("blue", ["blue"]),
    ("the blue blue blue star", ["the blue star"]),
    ("four green squares", ["three green squares", "green squares"]),
]


def cider_by_definition(predictions, golds):
    """Sums over explicit lists of n-grams, split at spaces."""

    def ngrams(text, order):
        words = text.split()
        return [tuple(words[i : i + order]) for i in range(len(words) - order + 1)]

    def vector(text, order):
        weights = {}
        for ngram in ngrams(text, order):
            having = sum(any(ngram in ngrams(gold, order) for gold in sample) for sample in golds)
            weights[ngram] = ngrams(text, order).count(ngram) * math.log(len(golds) / max(1, having))
        return weights

    scores = []
    for prediction, sample in zip(predictions, golds, strict=True):
        total = 0.0
        for gold in sample:
            penalty = math.exp(-((len(prediction.split()) - len(gold.split())) ** 2) / (2 * 6.0**2))
            for order in range(1, 5):
                own, other = vector(prediction, order), vector(gold, order)
                norm = math.hypot(*own.values()) * math.hypot(*other.values())
                dot = sum(min(own[ngram], other[ngram]) * other[ngram] for ngram in own.keys() & other.keys())
                total += penalty * dot / norm / 4 if norm else 0.0
        scores.append(10 * total / len(sample))
    return scores


class TestCider:
    def test_agrees_with_the_public_implementation(self):
        # pycocoevalcap 1.2, CiderScorer(n=4, sigma=6.0), on these strings.
        expected = [4.363984073107601, 3.934711410591021, 2.5, 2.5245108664659446, 3.3365689318484018]
        assert cider(*zip(*CORPUS, strict=True)) == pytest.approx(expected, rel=1e-12)

    @quick
    @given(
        samples=st.lists(
            st.tuples(
                st.lists(st.sampled_from("pqr"), max_size=6).map(" ".join),
                st.lists(st.lists(st.sampled_from("pqrs"), max_size=6).map(" ".join), min_size=1, max_size=2),
            ),
            min_size=2,
            max_size=4,
        )
    )
    def test_follows_the_definition(self, samples):
        predictions, golds = zip(*samples, strict=True)
        assert cider(predictions, golds) == pytest.approx(cider_by_definition(predictions, golds))

    def test_reaches_10_for_the_reference_and_2_and_a_half_for_one_word(self):
        golds = [["three green squares here"], ["blue"], ["two pink rings there"]]
        assert cider([gold[0].upper() for gold in golds], golds) == pytest.approx([10, 2.5, 10])

    def test_what_every_reference_says_is_worth_nothing(self):
        assert cider(["pq", "pq"], [["pq rs"], ["pq tu"]]) == [0.0, 0.0]

    @pytest.mark.parametrize(
        ("one", "other"),
        [("12.5%", "12.5 %"), ("Yes, it is.", "yes it is"), ("\u22125 degrees", "-5 degrees"), ("(a) b", "a b")],
    )
    def test_punctuation_and_spacing_make_no_difference(self, one, other):
        golds = [[one], ["something else entirely"]]
        assert cider([other, ""], golds) == pytest.approx(cider([one, ""], golds))
        assert cider([other, ""], golds)[0] > 2.4

    @pytest.mark.parametrize(("one", "other"), [("12.5", "125"), ("-5", "5"), ("5%", "5 $"), ("don't", "don t")])
    def test_what_tells_numbers_and_words_apart_is_kept(self, one, other):
        golds = [[f"{one}"], ["something else entirely"]]
        assert cider([other, ""], golds)[0] < cider([one, ""], golds)[0]

    def test_bad_input_is_refused(self):
        with pytest.raises(ValueError, match="2 predictions need as many"):
            cider(["a", "b"], [["a"]])
        with pytest.raises(ValueError, match="at least 2 samples, got 1"):
            cider(["a"], [["a"]])
        with pytest.raises(ValueError, match="at least one"):
            cider(["a", "b"], [["a"], []])
        with pytest.raises(ValueError, match="must be a list"):
            cider(["a", "b"], ["a", "b"])
