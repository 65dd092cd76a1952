"""The words and values that forms, tables, charts and running text are filled with.

Values take one number from the generator where they can: a page of print needs a thousand of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from llava.pages.chance import between, pick


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _phrases(text: str) -> tuple[str, ...]:
    """What stands between bars, on one line each."""
    return tuple(" ".join(phrase.split()) for phrase in text.split("|"))


ITEMS = _words(
    """Anchor Apron Awning Barrel Basket Beacon Bench Binder Blanket Bolt Bracket Brush Bucket Buoy Cabinet Cable
    Candle Canvas Chain Chair Chisel Clamp Clock Compass Cooler Cork Crate Cushion Desk Drill Easel Engine
    Fender Filter Flag Flask Folder Funnel Gasket Gauge Gloves Grill Hammer Handle Harness Hinge Hook Hose
    Jacket Kettle Ladder Lamp Lantern Latch Lever Lock Magnet Mallet Mirror Motor Napkin Needle Nozzle Paddle
    Pallet Panel Pedal Pencil Pillow Pipe Plank Pliers Pulley Pump Quilt Rake Ribbon Rivet Rope Ruler Saddle
    Sail Sander Screw Shelf Shovel Sieve Socket Spade Sponge Spring Stool Switch Table Tarp Ticket Timer Torch
    Towel Tray Tripod Valve Vase Vest Washer Wheel Winch Wire Wrench Yoke Zipper"""
)
PEOPLE = _words(
    """Ada Amir Anna Ben Bo Cara Chen Clara Dan Dora Eli Emma Eva Finn Gia Hana Hugo Ida Ivan Jack June Kai Kim
    Lars Lea Leo Lina Luca Maya Mia Nils Nina Noah Olga Omar Otto Paul Pia Raj Rosa Ruth Sam Sara Sven Tara Theo
    Tim Uma Vera Yara Zoe"""
)
FAMILY_NAMES = _words(
    """Abbott Berger Costa Dunn Ellis Fischer Garcia Hill Ito Jensen Kaya Lopez Moreau Novak Okafor Park Quinn
    Rossi Sato Toth Ueda Varga Weber Young Zhang"""
)
CITIES = _words(
    """Accra Bergen Cairo Delhi Essen Fargo Genoa Hanoi Izmir Jaipur Kyoto Lagos Lima Lyon Malmo Nice Oslo Perth
    Porto Quito Riga Rome Seoul Split Tampa Turin Ulm Vaduz Vigo York Zagreb"""
)
FEW_PEOPLE, FEW_CITIES = PEOPLE[::4], CITIES[::3]
"""Names of a small model's first pages."""
MONTHS = _words("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec")
SERIES = _words("Wind Solar Hydro Coal Gas Wood Rice Corn Oats Tea Salt Iron Zinc Gold Cars Vans Bikes Boats")
TOPICS = _words("Output Imports Exports Visits Sales Costs Rainfall Harvest Traffic Orders Stock Loans Repairs")
CATEGORIES = (
    MONTHS,
    tuple(str(year) for year in range(2010, 2026)),
    ("Q1", "Q2", "Q3", "Q4"),
    ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    ("North", "South", "East", "West"),
    CITIES,
    PEOPLE,
)

_SUBJECTS = _phrases(
    """the board|our office|the carrier|each branch|the buyer|this report|the harbor crew|a second team|the auditor|the
    council|every driver|the mill|the new plant|the archive|a local firm|the night shift|the survey"""
)
_VERBS = _phrases(
    """has reviewed|will replace|accepted|may return|keeps|sent|did not change|prepared|expects|stored|compared|signed
    for|inspected|moved|lists|measured"""
)
_OBJECTS = _phrases(
    """the spare parts|all open orders|the old meters|two sealed boxes|the annual plan|goods in transit|the loading
    dock|every damaged item|the revised terms|the north roof|paper records|the fuel tanks|minor repairs|the
    results|unused stock"""
)
_TAILS = _phrases(
    """before the end of the month|without further notice|at the usual rate|for a second year|in good order|after the
    spring storm|on behalf of the owner|as agreed in writing|with few exceptions|at no extra cost|since the last
    visit|under the same contract"""
)


def sentence(rng: np.random.Generator) -> str:
    """A sentence of plain office prose."""
    words = " ".join(pick(rng, phrases) for phrases in (_SUBJECTS, _VERBS, _OBJECTS, _TAILS))
    return f"{words[0].upper()}{words[1:]}."


def code(rng: np.random.Generator) -> str:
    """Two letters and four digits, hyphenated."""
    letters, digits = divmod(between(rng, 0, 26 * 26 * 9000 - 1), 9000)
    return f"{chr(65 + letters // 26)}{chr(65 + letters % 26)}-{1000 + digits}"


def short_code(rng: np.random.Generator) -> str:
    """A letter and two digits."""
    letter, digits = divmod(between(rng, 0, 26 * 90 - 1), 90)
    return f"{chr(65 + letter)}{10 + digits}"


def money(rng: np.random.Generator) -> str:
    """An amount below 1,000 with cents."""
    return format_money(between(rng, 100, 99_999))


def format_money(cents: int) -> str:
    """Cents as they are printed."""
    return f"{cents / 100:,.2f}"


def number(rng: np.random.Generator) -> str:
    """A count below 1,000."""
    return str(between(rng, 1, 999))


def date(rng: np.random.Generator) -> str:
    """A day of this decade in one of three forms."""
    form, day = divmod(between(rng, 0, 3 * 9 * 12 * 28 - 1), 9 * 12 * 28)
    year, month, day = 2019 + day // (12 * 28), day // 28 % 12 + 1, day % 28 + 1
    if form == 0:
        return f"{year}-{month:02}-{day:02}"
    name = MONTHS[month - 1]
    return f"{day} {name} {year}" if form == 1 else f"{name} {day}, {year}"


def person(rng: np.random.Generator) -> str:
    """A first name and a family name."""
    return f"{pick(rng, PEOPLE)} {pick(rng, FAMILY_NAMES)}"


def first_name(rng: np.random.Generator) -> str:
    """A first name."""
    return pick(rng, PEOPLE)


def city(rng: np.random.Generator) -> str:
    """A city."""
    return pick(rng, CITIES)


def phone(rng: np.random.Generator) -> str:
    """Seven digits."""
    return f"{between(rng, 200, 999)}-{between(rng, 0, 9999):04}"


def small_number(rng: np.random.Generator) -> str:
    """A count below 100."""
    return str(between(rng, 1, 99))


def few_first_names(rng: np.random.Generator) -> str:
    """One of a few first names."""
    return pick(rng, FEW_PEOPLE)


def few_cities(rng: np.random.Generator) -> str:
    """One of a few cities."""
    return pick(rng, FEW_CITIES)


def few_units(rng: np.random.Generator) -> str:
    """A count below 50, of which twenty sum to three digits."""
    return str(between(rng, 1, 49))


def percent(rng: np.random.Generator) -> str:
    """A share in whole percent."""
    return f"{between(rng, 1, 99)}%"


Writer = Callable[[np.random.Generator], str]
FIELDS: Mapping[str, Writer] = {
    "Name": first_name, "City": city, "Code": short_code, "Price": money, "Date": date, "Room": number,
    "Seat": short_code, "Gate": short_code, "Box": number, "Age": number, "Fee": money, "Phone": phone,
    "Tax": percent, "Order": code, "Customer": person, "Agent": person, "Destination": city, "Invoice date": date,
    "Due date": date, "Delivery date": date, "Order date": date, "Account": code, "Reference": code, "Permit": code,
    "Contract": code, "Serial": code, "Weight": number, "Discount": percent, "Deposit": money, "Balance": money,
    "Amount paid": money, "Office": city, "Branch": city, "Contact": person, "Manager": person, "Driver": person,
    "Truck": short_code, "Dock": short_code, "Pages": number, "Items": number, "Origin": city, "Return date": date,
    "Policy": code, "Claim": code, "Inspector": person, "Warehouse": city, "Pallets": number, "Hotline": phone,
    "Fax": phone, "Extension": number, "Locker": short_code,
}  # fmt: skip
"""Fields of forms."""
DATE_FIELDS = frozenset(name for name in FIELDS if FIELDS[name] is date)

FACTS: Mapping[str, Writer] = {
    "late fee": money, "audit code": code, "repair cost": money, "meeting room": number, "chief engineer": person,
    "test site": city, "error rate": percent, "help line": phone, "spare key": short_code, "head count": number,
    "survey budget": money, "gate code": short_code, "transfer point": city, "safety officer": person,
}  # fmt: skip
"""What running text may tell."""

COLUMNS: Mapping[str, Writer] = {
    "Qty": number, "Cost": money, "Lot": code, "Port": city, "Duty": percent, "Stock": number, "Bin": short_code,
    "Sold": number, "Value": money, "Buyer": first_name, "Day": date, "Batch": code, "Units": number, "Spare": number,
    "Rent": money, "Rack": short_code, "Clerk": first_name, "Depot": city, "Net": money,
}  # fmt: skip
"""Heads of table columns; none is also a field, so that a name on a page means one thing."""
SUMMED = frozenset(name for name in COLUMNS if COLUMNS[name] in (number, money))
TITLES = ("Purchase order", "Invoice", "Delivery note", "Stock list", "Packing slip", "Service report", "Receipt")


@dataclass(frozen=True, kw_only=True, eq=False)
class Lexicon:
    """The words of a style.

    ``fields``, ``columns`` and ``items`` share none, so that a name on a page means one thing.
    """

    items: tuple[str, ...]
    """Rows of tables."""
    fields: Mapping[str, Writer]
    columns: Mapping[str, Writer]
    facts: Mapping[str, Writer]
    """What running text tells."""
    series: tuple[str, ...]
    shares: tuple[tuple[str, ...], ...]
    """Lists of what a pie is cut into."""
    categories: tuple[tuple[str, ...], ...]
    """Lists of what stands below an axis."""
    steps: tuple[int, ...]
    """Distances of ticks."""

    @property
    def words(self) -> tuple[str, ...]:
        """Every word of every name, without the values that are written behind names."""
        names = (self.items, self.fields, self.columns, self.facts, self.series, *self.shares, *self.categories)
        return tuple(dict.fromkeys(word for group in names for name in group for word in name.split()))


FULL = Lexicon(
    items=ITEMS,
    fields=FIELDS,
    columns=COLUMNS,
    facts=FACTS,
    series=SERIES,
    shares=(SERIES, CITIES),
    categories=CATEGORIES,
    steps=(1, 2, 5, 10, 20, 25, 50, 100),
)
SMALL = Lexicon(
    items=ITEMS[::7],
    fields={
        "Name": few_first_names, "Agent": few_first_names, "Driver": few_first_names, "City": few_cities,
        "Office": few_cities, "Origin": few_cities, "Room": small_number, "Seat": small_number, "Gate": small_number,
        "Box": small_number, "Age": small_number, "Dock": small_number,
    },
    columns={
        "Qty": small_number, "Stock": small_number, "Units": small_number, "Port": few_cities, "Depot": few_cities,
        "Buyer": few_first_names, "Clerk": few_first_names,
    },
    facts={},
    series=SERIES[::2],
    shares=(SERIES[::2], FEW_CITIES),
    categories=(MONTHS, FEW_CITIES, FEW_PEOPLE),
    steps=(2, 5, 10),
)  # fmt: skip
"""Few words and short numbers, for a small model's first documents and charts."""
SHORT = Lexicon(
    items=ITEMS,
    fields={
        "Name": few_first_names, "Customer": few_first_names, "Agent": few_first_names, "Driver": few_first_names,
        "Contact": few_first_names, "Manager": few_first_names, "Inspector": few_first_names, "City": few_cities,
        "Office": few_cities, "Branch": few_cities, "Origin": few_cities, "Warehouse": few_cities,
        "Destination": few_cities, "Room": number, "Box": number, "Age": small_number, "Pages": number,
        "Items": small_number, "Weight": number, "Extension": number, "Pallets": small_number, "Code": short_code,
        "Seat": short_code, "Gate": short_code, "Truck": short_code, "Dock": short_code, "Locker": short_code,
    },
    columns={
        "Qty": few_units, "Stock": few_units, "Units": few_units, "Sold": few_units, "Spare": few_units,
        "Port": few_cities, "Depot": few_cities, "Buyer": few_first_names, "Clerk": few_first_names,
        "Bin": short_code, "Rack": short_code,
    },
    facts={
        "meeting room": number, "head count": number, "spare key": short_code, "gate code": short_code,
        "test site": few_cities, "transfer point": few_cities, "chief engineer": few_first_names,
        "safety officer": few_first_names,
    },
    series=SERIES,
    shares=(SERIES, FEW_CITIES),
    categories=(MONTHS, FEW_CITIES, FEW_PEOPLE, ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")),
    steps=(2, 5, 10),
)  # fmt: skip
"""Names of one word and values of at most three characters or one word, for pages full of small print."""

WORDS = tuple(
    dict.fromkeys(
        word
        for names in (ITEMS, PEOPLE, CITIES, MONTHS, SERIES, TOPICS, FIELDS, FACTS, COLUMNS, ("Total",))
        for name in names
        for word in name.split()
    )
)
"""Every word that names something on a page; an index into it is a class of the dense reading loss."""
