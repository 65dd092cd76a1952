"""The open vocabulary: words that no list holds, and numbers, dates and codes as people write them."""

import re
from collections.abc import Callable
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llava.pages import plain_words
from llava.pages import vocabulary as v
from llava.pages.characters import CHARACTERS
from llava.pages.documents.labels import KNOWN

WRITERS = sorted(
    {writer for _, writer in KNOWN}
    | {v.word, v.invented_word, v.first_name, v.surname, v.person, v.noise, v.any_text, v.cased_word},
    key=lambda writer: writer.__name__,
)
quick = settings(max_examples=60, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def many(write: Callable[[np.random.Generator], str], seed: int, count: int = 500) -> list[str]:
    rng = generator(seed)
    return [write(rng) for _ in range(count)]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
class TestEveryWriter:
    def test_it_writes_characters_that_have_a_class_with_single_blanks_between(self, write):
        for text in many(write, 11):
            assert text
            assert text == " ".join(text.split())
            assert set(text) <= {*CHARACTERS, " "}

    def test_the_same_numbers_give_the_same_words(self, write):
        assert many(write, 5, 50) == many(write, 5, 50)
        assert many(write, 5, 50) != many(write, 6, 50)


def test_every_letter_with_an_accent_has_a_class_as_a_capital_too():
    """Words are written in capitals now and then."""
    for forms in v._ACCENTS.values():
        assert set(forms) <= {*CHARACTERS}
        assert set(forms.upper()) <= {*CHARACTERS}


class TestOpenness:
    """A reader that knows every text of one long run still cannot know those of the next."""

    @pytest.mark.parametrize(
        ("write", "known"),
        [
            (v.invented_word, 0.2),
            (v.word, 0.65),
            (v.person, 0.12),
            (v.town, 0.65),
            (v.company, 0.2),
            (v.street, 0.05),
            (v.email, 0.2),
            (v.phone, 0.05),
            (v.code, 0.15),
            (v.amount, 0.2),
            (v.any_text, 0.55),
        ],
        ids=lambda value: getattr(value, "__name__", ""),
    )
    def test_most_of_what_another_seed_writes_was_never_written(self, write, known):
        before = {*many(write, 1), *many(write, 2)}
        new = many(write, 3)
        assert sum(text in before for text in new) / len(new) < known

    def test_invented_words_go_on_being_new(self):
        words = many(v.invented_word, 4, 4000)
        assert len({*words}) > 3200
        assert len({*words[2000:]} - {*words[:2000]}) > 1500

    @pytest.mark.parametrize(
        ("write", "names"),
        [
            (v.word, plain_words.WORDS),
            (v.first_name, plain_words.FIRST_NAMES),
            (v.surname, plain_words.SURNAMES),
            (v.town, plain_words.TOWNS),
        ],
        ids=lambda value: getattr(value, "__name__", ""),
    )
    def test_about_half_is_known_by_heart(self, write, names):
        listed = sum(text in names for text in many(write, 8, 1000)) / 1000
        assert 0.4 < listed < 0.62

    def test_a_page_shows_every_kind_of_text(self):
        texts = many(v.any_text, 9, 3000)
        shares = {
            "letters alone": r"[^\W\d_]+",
            "digits alone": r"\d+",
            "money": r"[$€£][\d.,]+",
            "an address": r"\S+@\S+",
            "a time": r"\d\d?:\d\d( [apAP][mM])?",
            "a share": r"[\d.]+ ?%",
            "several words": r".+ .+",
        }
        counts = {name: sum(bool(re.fullmatch(form, text)) for text in texts) for name, form in shares.items()}
        assert all(count > 15 for count in counts.values()), counts
        assert counts["letters alone"] > 900

    def test_accents_are_seen_and_rare(self):
        words = many(v.invented_word, 3, 4000)
        accented = sum(not word.isascii() for word in words) / len(words)
        assert 0.05 < accented < 0.1
        plain = [v.invented_word(generator(seed), accents=0.0).removesuffix("ová") for seed in range(300)]
        assert all(word.isascii() for word in plain)


class TestForms:
    def test_dates_are_days_of_the_calendar(self):
        forms = (
            "%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d.%m.%y", "%d %B %Y", "%B %d, %Y", "%d %b %Y",
            "%b %d, %Y", "%d-%b-%Y", "%A, %d %B", "%B %Y",
        )  # fmt: skip
        for text in many(v.date, 12, 400):
            found = []
            for form in forms:
                # A day without its year is one of a leap year.
                told = (text, form) if form[-1] in "Yy" or "%Y" in form else (f"{text} 1952", f"{form} %Y")
                try:
                    found.append(datetime.strptime(*told))
                except ValueError:
                    continue
            assert found, text
            assert all(1950 <= day.year <= 2068 for day in found)

    def test_all_twelve_forms_of_dates_are_used(self):
        shapes = {re.sub(r"\d+", "0", re.sub(r"[A-Z][a-z]{3,}", "Long", text)) for text in many(v.date, 2, 1000)}
        assert {"0-0-0", "0/0/0", "0.0.0", "0 Long 0", "Long 0, 0", "Long, 0 Long", "Long 0"} <= shapes
        assert any(re.fullmatch(r"0-[A-Z]{3}-0", shape) for shape in shapes)

    def test_times_are_those_of_a_clock(self):
        for text in many(v.clock, 12):
            found = re.fullmatch(r"(\d\d?):(\d\d)(?: (am|pm|AM|PM))?", text)
            assert found, text
            hour, minute, half = int(found[1]), int(found[2]), found[3]
            assert minute < 60
            assert 1 <= hour <= 12 if half else len(found[1]) == 2 and hour < 24

    def test_amounts_are_money(self):
        plain, swapped = r"\d{1,3}(,\d{3})*\.\d\d", r"\d{1,3}(\.\d{3})*,\d\d"
        money = "|".join(re.escape(sign) for sign in v._CURRENCIES if sign)
        behind = "|".join(re.escape(sign.strip()) for sign in v._CURRENCIES if sign)
        for text in many(v.amount, 12):
            assert re.fullmatch(rf"({money})?({plain}|{swapped}|\d+)|{swapped}( ({behind}))?", text), text

    @quick
    @given(seed=seeds)
    def test_numbers_are_numbers(self, seed):
        rng = generator(seed)
        whole, fraction, share = v.integer(rng), v.decimal(rng), v.percent(rng)
        assert re.fullmatch(r"\d{1,6}|\d{1,3}(,\d{3})?", whole)
        assert 1 <= int(whole.replace(",", "")) < 10**6
        assert re.fullmatch(r"\d+[.,]\d{1,3}", fraction)
        assert 0 <= float(fraction.replace(",", ".")) <= 10**4
        assert re.fullmatch(r"\d+(\.\d)? ?%", share)
        assert 0 <= float(share.rstrip("% ")) <= 100

    @quick
    @given(seed=seeds, count=st.integers(1, 10))
    def test_digits_and_letters_are_as_many_as_asked_for(self, seed, count):
        rng = generator(seed)
        assert re.fullmatch(rf"[0-9]{{{count}}}", v.digits(rng, count))
        assert re.fullmatch(rf"[A-Z]{{{count}}}", v.letters(rng, count))

    def test_digits_begin_with_a_zero_as_often_as_with_any_other(self):
        firsts = [v.digits(generator(seed), 3)[0] for seed in range(2000)]
        assert all(130 < firsts.count(digit) < 270 for digit in "0123456789")

    def test_codes_are_short_and_of_capitals_and_digits(self):
        for text in many(v.code, 12):
            assert re.fullmatch(r"#?[A-Z0-9]+([-/ ]?[A-Z0-9]+)*", text), text
            assert 3 <= len(text) <= 10, text

    @quick
    @given(seed=seeds)
    def test_phones_addresses_and_sites_can_be_dialled_and_typed(self, seed):
        rng = generator(seed)
        phone, address, site = v.phone(rng), v.email(rng), v.website(rng)
        assert re.fullmatch(r"\+\d{1,2} \d{2,3} \d{5,7}|\(\d{3}\) \d{3}-\d{4}|\d{3}-\d{4}|0\d{3}/\d{6}", phone), phone
        assert re.fullmatch(r"[a-z0-9._]+@[a-z0-9]+(\.[a-z]+)+", address), address
        assert re.fullmatch(r"(www\.|https://)?[a-z0-9]+(\.[a-z]+)+", site), site

    @quick
    @given(seed=seeds)
    def test_people_and_places_are_named_with_capitals(self, seed):
        rng = generator(seed)
        for name in (v.person(rng), v.first_name(rng), v.surname(rng), v.town(rng), v.company(rng)):
            assert name[0] == name[0].upper()
            assert not name.isupper() or len(name) < 6
        assert re.search(r"(^| )\d+( |$)", v.street(rng))


class TestPlainWords:
    def test_words_are_listed_once_in_small_letters(self):
        assert len({*plain_words.WORDS}) == len(plain_words.WORDS) > 1000
        assert all(re.fullmatch("[a-z]+", word) for word in plain_words.WORDS)

    @pytest.mark.parametrize("names", [plain_words.FIRST_NAMES, plain_words.SURNAMES, plain_words.TOWNS])
    def test_names_are_listed_once_with_a_capital(self, names):
        assert len({*names}) == len(names) > 100
        assert all(re.fullmatch("[A-Z][a-z]+", name) for name in names)

    def test_texts_are_split_at_any_blank(self):
        assert plain_words.split_words(" one\n  two\tthree ") == ("one", "two", "three")
