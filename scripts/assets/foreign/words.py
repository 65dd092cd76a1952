"""Names, places, dates, amounts and codes, made up from a seed and from lists of its own."""

import json
import random
import unicodedata
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

_LISTS: dict[str, list[str]] = json.loads(Path(__file__).with_name("words.json").read_text(encoding="utf-8"))
FIRST, LAST, TOWNS, STREETS = (_LISTS[name] for name in ("first", "last", "towns", "streets"))
BRANDS, FORMS, ADJECTIVES, NOUNS = (_LISTS[name] for name in ("brands", "forms", "adjectives", "nouns"))
DISHES, INGREDIENTS, TEAMS, JOBS = (_LISTS[name] for name in ("dishes", "ingredients", "teams", "jobs"))
COUNTRIES, MONTHS, TOPICS = (_LISTS[name] for name in ("countries", "months", "topics"))
_CONSONANTS, _DIGITS = "BCDFGHJKLMNPQRSTVWXZ", "0123456789"

_CURRENCIES: dict[str, Callable[[str, str], str]] = {
    "EUR": lambda whole, cents: f"€ {whole.replace(' ', '.')},{cents}",
    "GBP": lambda whole, cents: f"£{whole.replace(' ', ',')}.{cents}",
    "USD": lambda whole, cents: f"${whole.replace(' ', ',')}.{cents}",
    "CHF": lambda whole, cents: f"CHF {whole.replace(' ', chr(39))}.{cents}",
    "PLN": lambda whole, cents: f"{whole.replace(' ', '.')},{cents} zł",
    "SEK": lambda whole, cents: f"{whole.replace(' ', '.')},{cents} kr",
    "CZK": lambda whole, cents: f"{whole.replace(' ', '.')},{cents} Kč",
}
CURRENCIES = tuple(_CURRENCIES)
_DATES: tuple[Callable[[date], str], ...] = (
    lambda day: day.isoformat(),
    lambda day: f"{day.day:02}.{day.month:02}.{day.year}",
    lambda day: f"{day.day:02}/{day.month:02}/{day.year}",
    lambda day: f"{day.day} {MONTHS[day.month - 1]} {day.year}",
    lambda day: f"{MONTHS[day.month - 1]} {day.day}, {day.year}",
    lambda day: f"{day.day} {MONTHS[day.month - 1][:3]} {day.year}",
)


def plain(text: str) -> str:
    """The text in small ASCII letters and digits."""
    split = unicodedata.normalize("NFKD", text.lower().replace("ł", "l").replace("ø", "o").replace("ß", "ss"))
    return "".join(letter for letter in split if letter.isascii() and letter.isalnum())


def amount(cents: int, currency: str) -> str:
    """An amount as people of that currency write it."""
    return _CURRENCIES[currency](f"{cents // 100:,}".replace(",", " "), f"{cents % 100:02}")


class Words(random.Random):
    """A source of made-up words; the same seed gives the same ones."""

    def person(self) -> str:
        return f"{self.choice(FIRST)} {self.choice(LAST)}"

    def people(self, number: int) -> list[str]:
        """People of whom no two share a name."""
        return [
            f"{first} {last}" for first, last in zip(self.sample(FIRST, number), self.sample(LAST, number), strict=True)
        ]

    def company(self) -> str:
        return f"{self.choice((self.choice(BRANDS), self.choice(LAST)))} {self.choice(FORMS)}"

    def street(self) -> str:
        return f"{self.choice(STREETS)} {self.randint(1, 240)}{self.choice(('', '', '', 'a', 'b'))}"

    def town(self) -> str:
        return self.choice(TOWNS)

    def postcode(self) -> str:
        return self.fill(self.choice(("#####", "####", "##-###", "@@# #@@", "#### @@", "### ##")))

    def fill(self, pattern: str) -> str:
        """The pattern with a digit for each #, and a letter for each @."""
        letters = {"#": _DIGITS, "@": _CONSONANTS}
        return "".join(self.choice(letters[sign]) if sign in letters else sign for sign in pattern)

    def code(self) -> str:
        patterns = ("@@-####", "####-@@@", "@##.###", "@@@#####", "#@#@-##", "INV-#####", "######", "@-##-@@#")
        return self.fill(self.choice(patterns))

    def email(self, name: str) -> str:
        first, last = plain(name.split()[0]), plain(name.split()[-1])
        user = self.choice((f"{first}.{last}", f"{first[0]}.{last}", f"{last}{self.randint(2, 99)}", first))
        return f"{user}@{plain(self.choice(BRANDS))}.{self.choice(('com', 'eu', 'org', 'net', 'pl', 'se'))}"

    def phone(self) -> str:
        return self.fill(self.choice(("+## ### ### ###", "0## #### ####", "(0##) ###-####", "+## ## ### ## ##")))

    def iban(self) -> str:
        return self.fill(
            self.choice(("DE## #### #### #### #### ##", "NL## @@@@ #### #### ##", "SE## #### #### #### ####"))
        )

    def day(self, first: int = 2019, last: int = 2027) -> date:
        return date(first, 1, 1) + timedelta(days=self.randrange(365 * (last - first)))

    def date_form(self) -> Callable[[date], str]:
        """One way to write dates, to keep to on one page."""
        return self.choice(_DATES)

    def clock(self, low: int = 6, high: int = 22) -> str:
        return f"{self.randint(low, high):02}:{self.randint(0, 59):02}"

    def product(self) -> str:
        return f"{self.choice(ADJECTIVES)} {self.choice(NOUNS)}"

    def products(self, number: int) -> list[str]:
        """Products of which no two share a word."""
        pairs = zip(self.sample(ADJECTIVES, number), self.sample(NOUNS, number), strict=True)
        return [f"{adjective} {noun}" for adjective, noun in pairs]

    def values(self, number: int, low: int, high: int, step: int = 1) -> list[int]:
        """Different whole multiples of a step."""
        return [step * each for each in self.sample(range(low // step, high // step + 1), number)]
