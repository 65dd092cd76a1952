"""An open vocabulary: words, names, codes, amounts and dates that no list holds.

Half of all words are made from syllables on the spot, numbers and codes from digits and letters, so a reader that knows
only the words it was trained on fails. Everything is drawn with few numbers from the generator.
"""

from collections.abc import Callable, Sequence

import numpy as np

from llava.pages.chance import between, happens, pick
from llava.pages.characters import CHARACTERS
from llava.pages.plain_words import FIRST_NAMES, SURNAMES, TOWNS, WORDS
from llava.pages.plain_words import split_words as _words

_ONSETS = _words(
    "b c d f g h j k l m n p r s t v w z br ch cl cr dr fl fr gl gr kl kr pl pr sc sh sk sl sm sp st str sw th tr qu ph"
)
_NUCLEI = _words("a a a e e e i i o o u ai au ea ee ei ia ie io oa oo ou y")
_CODAS = _words("b ck d f g l ll m n n n ng nd nt p r r rd rk rn rs rt s s ss st t t tt th x z")
_ACCENTS = {
    "a": "áàâäãåāą", "e": "éèêëēęě", "i": "íìîïī", "o": "óòôöõøōő", "u": "úùûüūůű", "c": "çćč", "n": "ñńň", "s": "śšş",
    "z": "źżž", "l": "ł", "y": "ý", "r": "ř", "t": "ť", "d": "ďđ", "g": "ğ",
}  # fmt: skip
_SMALL = "".join(_ACCENTS.values())
BEYOND_ASCII = "£€·ß" + "".join(dict.fromkeys(_SMALL + _SMALL.upper()))
"""What pages print beside ASCII; a face without these would print empty boxes in their place."""
_ENDINGS = ("", "", "", "er", "ing", "tion", "ment", "berg", "ville", "ová", "ski", "sson", "elli", "ez", "ford", "ham")
_CURRENCIES = ("$", "€", "£", "USD ", "EUR ", "CHF ", "kr ", "")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_STREETS = ("Street", "St.", "Road", "Rd", "Avenue", "Ave", "Lane", "Way", "Drive", "Square", "Court", "Hill", "straße")
_ENDS = ("com", "org", "net", "de", "co.uk", "fr", "io", "eu", "ch", "it", "info")
_LEGAL = ("Ltd", "GmbH", "Inc.", "LLC", "S.A.", "AG", "& Co.", "Group", "& Sons", "B.V.", "AB", "Partners")


def invented_word(rng: np.random.Generator, *, accents: float = 0.06) -> str:
    """A word of one to three syllables that may not exist, in lower case."""
    word = ""
    for _ in range(between(rng, 1, 3)):
        word += pick(rng, _ONSETS) + pick(rng, _NUCLEI) + (pick(rng, _CODAS) if happens(rng, 0.85) else "")
    word += pick(rng, _ENDINGS) if len(word) < 8 else ""
    if happens(rng, accents):
        places = [place for place, letter in enumerate(word) if letter in _ACCENTS]
        if places:
            place = pick(rng, places)
            word = word[:place] + pick(rng, _ACCENTS[word[place]]) + word[place + 1 :]
    return word


def word(rng: np.random.Generator) -> str:
    """A plain English word or an invented one, in lower case."""
    return pick(rng, WORDS) if happens(rng, 0.5) else invented_word(rng)


def cased_word(rng: np.random.Generator) -> str:
    """A word, now and then capitalized or in capitals."""
    text, chance = word(rng), rng.random()
    return text.upper() if chance < 0.12 else text.capitalize() if chance < 0.4 else text


def first_name(rng: np.random.Generator) -> str:
    """A first name, known or invented."""
    return pick(rng, FIRST_NAMES) if happens(rng, 0.5) else invented_word(rng, accents=0.12).capitalize()


def surname(rng: np.random.Generator) -> str:
    """A family name, known or invented, sometimes two."""
    name = pick(rng, SURNAMES) if happens(rng, 0.5) else invented_word(rng, accents=0.15).capitalize()
    if happens(rng, 0.05):
        return f"{name}-{pick(rng, SURNAMES)}"
    return f"{pick(rng, ('O', 'D'))}'{name}" if happens(rng, 0.03) else name


def person(rng: np.random.Generator) -> str:
    """A first name and a family name, in one of the ways people are listed."""
    first, last, form = first_name(rng), surname(rng), rng.random()
    if form < 0.65:
        return f"{first} {last}"
    if form < 0.75:
        return f"{first[0]}. {last}"
    if form < 0.85:
        return f"{last}, {first}"
    return f"{first} {pick(rng, 'ABCDEFGHJKLMNPRSTW')}. {last}" if form < 0.93 else f"Dr. {last}"


def town(rng: np.random.Generator) -> str:
    """A town, known or invented."""
    name = pick(rng, TOWNS) if happens(rng, 0.5) else invented_word(rng, accents=0.12).capitalize()
    return f"{pick(rng, ('North', 'New', 'St.', 'Port', 'Bad', 'San'))} {name}" if happens(rng, 0.08) else name


def street(rng: np.random.Generator) -> str:
    """A street with a house number, before or behind it."""
    name, kind, number = invented_word(rng).capitalize(), pick(rng, _STREETS), str(between(rng, 1, 299))
    if kind == "straße":
        return f"{name}{kind} {number}"
    return f"{number} {name} {kind}" if happens(rng, 0.75) else f"{name} {kind} {number}"


def company(rng: np.random.Generator) -> str:
    """A firm."""
    name = cased_word(rng).capitalize()
    if happens(rng, 0.5):
        name += f" {word(rng).capitalize()}"
    return f"{name} {pick(rng, _LEGAL)}" if happens(rng, 0.6) else name


def email(rng: np.random.Generator) -> str:
    """An address for electronic mail, in plain letters."""
    local = _plain(first_name(rng)).lower()
    if happens(rng, 0.6):
        local += pick(rng, (".", "_", "")) + _plain(surname(rng)).lower()
    return f"{local}@{_plain(word(rng))}.{pick(rng, _ENDS)}"


def website(rng: np.random.Generator) -> str:
    """The address of a site."""
    return f"{pick(rng, ('www.', 'https://', ''))}{_plain(word(rng))}.{pick(rng, _ENDS)}"


def phone(rng: np.random.Generator) -> str:
    """A telephone number in one of many ways."""
    form = rng.random()
    if form < 0.3:
        return f"+{between(rng, 1, 99)} {between(rng, 10, 999)} {digits(rng, between(rng, 5, 7))}"
    if form < 0.6:
        return f"({digits(rng, 3)}) {digits(rng, 3)}-{digits(rng, 4)}"
    return f"{digits(rng, 3)}-{digits(rng, 4)}" if form < 0.8 else f"0{digits(rng, 3)}/{digits(rng, 6)}"


def digits(rng: np.random.Generator, count: int) -> str:
    """So many digits, zeros in front included."""
    return str(int(rng.integers(10**count))).zfill(count)


def letters(rng: np.random.Generator, count: int) -> str:
    """So many capitals."""
    return "".join(pick(rng, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(count))


def code(rng: np.random.Generator) -> str:
    """A reference of letters and digits in one of many forms."""
    form = rng.random()
    if form < 0.35:
        joint = pick(rng, ("-", "-", "", "/", " "))
        return f"{letters(rng, between(rng, 1, 3))}{joint}{digits(rng, between(rng, 2, 6))}"
    if form < 0.5:
        return f"{digits(rng, between(rng, 2, 4))}-{digits(rng, between(rng, 2, 5))}"
    if form < 0.65:
        return "".join(pick(rng, "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789") for _ in range(between(rng, 4, 8)))
    if form < 0.8:
        return f"{letters(rng, 2)}{digits(rng, 2)}{letters(rng, 1)}{digits(rng, between(rng, 1, 3))}"
    return digits(rng, between(rng, 5, 10)) if form < 0.93 else f"#{digits(rng, between(rng, 3, 6))}"


def integer(rng: np.random.Generator) -> str:
    """A whole number below a million, small ones more often."""
    value = int(10 ** rng.uniform(0, 6))
    return f"{value:,}" if happens(rng, 0.5) else str(value)


def decimal(rng: np.random.Generator) -> str:
    """A number with one to three places behind the point, or a comma."""
    places = between(rng, 1, 3)
    text = f"{10 ** rng.uniform(-1, 4):.{places}f}"
    return text.replace(".", ",") if happens(rng, 0.2) else text


def amount(rng: np.random.Generator) -> str:
    """Money with or without its currency, in one of many ways."""
    cents, currency, form = int(10 ** rng.uniform(2, 6.5)), pick(rng, _CURRENCIES), rng.random()
    if form < 0.7:
        return f"{currency}{cents / 100:,.2f}"
    if form < 0.85:
        swapped = f"{cents / 100:,.2f}".translate(str.maketrans(",.", ".,"))
        return f"{swapped} {currency.strip()}".strip() if happens(rng, 0.7) else f"{currency}{swapped}"
    return f"{currency}{cents // 100}"


def percent(rng: np.random.Generator) -> str:
    """A share."""
    value = rng.uniform(0, 100)
    text = f"{value:.0f}" if happens(rng, 0.5) else f"{value:.1f}"
    return f"{text}{pick(rng, ('%', '%', ' %'))}"


def clock(rng: np.random.Generator) -> str:
    """A time of day."""
    hour, minute = between(rng, 0, 23), between(rng, 0, 59)
    if happens(rng, 0.7):
        return f"{hour:02}:{minute:02}"
    return f"{hour % 12 or 12}:{minute:02} {pick(rng, ('am', 'pm', 'AM', 'PM'))}"


def date(rng: np.random.Generator) -> str:
    """A day between 1950 and 2049 in one of twelve forms."""
    year, month, day = between(rng, 1950, 2049), between(rng, 1, 12), between(rng, 1, 28)
    name = _MONTHS[month - 1]
    forms = (
        f"{year}-{month:02}-{day:02}", f"{day:02}/{month:02}/{year}", f"{month}/{day}/{year}", f"{day}.{month}.{year}",
        f"{day:02}.{month:02}.{year % 100:02}", f"{day} {name} {year}", f"{name} {day}, {year}",
        f"{day} {name[:3]} {year}", f"{name[:3]} {day}, {year}", f"{day:02}-{name[:3].upper()}-{year}",
        f"{pick(rng, _DAYS)}, {day} {name}", f"{name} {year}",
    )  # fmt: skip
    return pick(rng, forms)


def noise(rng: np.random.Generator) -> str:
    """Characters side by side for no reason: what only reading each of them gets right."""
    pool = CHARACTERS if happens(rng, 0.15) else CHARACTERS[:94]
    return "".join(pick(rng, pool) for _ in range(between(rng, 1, 7)))


Writer = Callable[[np.random.Generator], str]
_KINDS: Sequence[tuple[Writer, float]] = (
    (cased_word, 0.42), (integer, 0.1), (decimal, 0.04), (amount, 0.09), (code, 0.1), (date, 0.05), (person, 0.05),
    (town, 0.02), (company, 0.02), (street, 0.02), (email, 0.02), (website, 0.01), (phone, 0.02), (percent, 0.02),
    (clock, 0.01), (noise, 0.05),
)  # fmt: skip
_BORDERS = np.cumsum([share for _, share in _KINDS])
_MARKS = (",", ".", ":", ";", "?", "!", ")")


def any_text(rng: np.random.Generator) -> str:
    """Something that may stand on a page, with a mark of punctuation behind it now and then."""
    write, _ = _KINDS[int(np.searchsorted(_BORDERS, rng.random() * _BORDERS[-1]))]
    text = write(rng)
    chance = rng.random()
    if chance < 0.08:
        return text + pick(rng, _MARKS)
    return f"({text})" if chance < 0.1 else f'"{text}"' if chance < 0.11 else text


def _plain(text: str) -> str:
    return "".join(letter for letter in text if letter.isascii() and letter.isalnum()) or "mail"
