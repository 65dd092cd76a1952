"""Charts: what each shows and what is asked about it, whatever draws it."""

from collections.abc import Sequence
from dataclasses import dataclass

from scripts.assets.foreign.draft import Ask, absent_ask
from scripts.assets.foreign.words import COUNTRIES, MONTHS, Words

HUES = {
    "red": "#d62828",
    "blue": "#1f5fbf",
    "green": "#2a9d3f",
    "orange": "#f77f00",
    "purple": "#7b2cbf",
    "brown": "#7f5539",
    "pink": "#ff70a6",
    "yellow": "#ffd000",
    "gray": "#8a8a8a",
    "black": "#111111",
}
"""Colors by the names that everyone would give them."""
_OF_PLACES = {
    "Visitors of {town} museum": ("visitors", "number of visitors"),
    "Bicycles sold by {brand}": ("pieces", "number of bicycles"),
    "Letters sent from {town}": ("letters", "number of letters"),
    "Nights booked in {town}": ("nights", "number of nights"),
    "Honey made by {brand}": ("kg", "amount of honey"),
}
_OF_TIMES = {
    **_OF_PLACES,
    "Rainfall in {town}": ("mm", "rainfall"),
    "Energy use of {town}": ("GWh", "energy use"),
    "Trees planted in {town}": ("trees", "number of trees"),
}
_OF_CROPS = {"Harvest near {town}": ("tonnes", "harvest"), "Seeds sold by {brand}": ("bags", "number of bags")}
SUBJECTS: dict[str, tuple[Sequence[str], dict[str, tuple[str, str]]]] = {
    "country": (COUNTRIES, _OF_PLACES),
    "month": (tuple(month[:3] for month in MONTHS), _OF_TIMES),
    "year": (tuple(map(str, range(1998, 2027))), _OF_TIMES),
    "day": (("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"), _OF_TIMES),
    "crop": (
        ("Apples", "Barley", "Cherries", "Figs", "Ginger", "Hops", "Leeks", "Maize", "Oats", "Onions", "Pears", "Rye"),
        _OF_CROPS,
    ),
}
"""What values may be told of, and then by title the unit and what to call them in a question."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Values by name and series."""

    title: str
    unit: str
    what: str
    thing: str
    names: Sequence[str]
    values: dict[str, list[int]]
    """By series; one without a name where there is one series."""
    hues: dict[str, str]
    """Names of the colors, by series or, where there is one series, by name."""
    step: int
    """Between ticks."""

    @property
    def one(self) -> list[int]:
        return next(iter(self.values.values()))

    def entry(self, series: str, name: str) -> str:
        return f"{series} in {name}" if series else name


def plan_chart(words: Words, *, names: int, series: int = 1, on_ticks: bool = False) -> Chart:
    """A chart with made-up values; different in each series, on ticks where they are read off an axis."""
    thing = words.choice(sorted(SUBJECTS))
    things, subjects = SUBJECTS[thing]
    subject, (unit, what) = words.choice(sorted(subjects.items()))
    title = subject.format(town=words.town(), brand=words.company().rsplit(" ", 1)[0])
    found = words.sample(things, names)
    if thing in ("month", "year", "day"):
        found.sort(key=things.index)
    step = words.choice((5, 10, 20, 50, 100))
    lines = words.sample(
        ("North", "South", "Café", "Online", "Walk-in", "Members", "Guests", "Export", "Retail", "Field A", "Field B"),
        series,
    )
    colors = words.sample(sorted(HUES), max(names, series))
    values = {
        line: [each if on_ticks else each + words.randint(1, 4) for each in words.values(names, step, step * 11, step)]
        for line in lines
    }
    return Chart(
        title=title,
        unit=unit,
        what=what,
        thing=thing,
        names=found,
        step=step,
        values=values if series > 1 else {"": values[lines[0]]},
        hues=dict(zip(lines if series > 1 else found, colors, strict=False)),
    )


def ask_value(words: Words, chart: Chart, *, printed: bool, number: int = 2) -> list[Ask]:
    """How much some entries are: printed at them, or read off an axis."""
    cells = [(line, place) for line in chart.values for place in range(len(chart.names))]
    asks = []
    for line, place in words.sample(cells, number):
        value, name = str(chart.values[line][place]), chart.names[place]
        whole = f"What is the {chart.what} of {line} in {name}?" if line else f"What is the {chart.what} for {name}?"
        asks.append(
            Ask(
                kind="chart_value",
                question=whole,
                answer=value,
                beside=tuple(filter(None, (name, line))),
                printed=printed,
            )
        )
    return asks


def ask_extremes(words: Words, chart: Chart) -> list[Ask]:
    """Which name has the most and which the least, in one series."""
    line = words.choice(sorted(chart.values))
    scope, values = f" of {line}" if line else "", chart.values[line]
    beside = (line,) if line else ()
    most, least = (chart.names[values.index(best(values))] for best in (max, min))
    asks = []
    if values.count(max(values)) == 1:
        asks.append(
            Ask(
                kind="chart_largest",
                question=f"Which {chart.thing} has the largest {chart.what}{scope}?",
                answer=most,
                beside=beside,
            )
        )
    if values.count(min(values)) == 1:
        asks.append(
            Ask(
                kind="chart_smallest",
                question=f"Which {chart.thing} has the smallest {chart.what}{scope}?",
                answer=least,
                beside=beside,
            )
        )
    return asks


def ask_difference(words: Words, chart: Chart) -> Ask:
    """By how much two entries of one series differ."""
    line = words.choice(sorted(chart.values))
    first, second = words.sample(range(len(chart.names)), 2)
    apart = abs(chart.values[line][first] - chart.values[line][second])
    scope = f" of {line}" if line else ""
    question = (
        f"What is the difference in the {chart.what}{scope} between {chart.names[first]} and {chart.names[second]}?"
    )
    return Ask(
        kind="chart_difference",
        question=question,
        answer=str(apart),
        beside=(chart.names[first], chart.names[second]),
        printed=False,
    )


def ask_colors(words: Words, chart: Chart) -> list[Ask]:
    """What color something has, and what has a color."""
    first, second = words.sample(sorted(chart.hues), 2)
    return [
        Ask(
            kind="chart_color",
            question=f"What color stands for {first}?",
            answer=chart.hues[first],
            beside=(first,),
            printed=False,
        ),
        Ask(kind="chart_by_color", question=f"What is shown in {chart.hues[second]}?", answer=second),
    ]


def ask_title(chart: Chart) -> Ask:
    """The title."""
    return Ask(kind="field", question="What is the title of the chart?", answer=chart.title)


NO_SOURCE = absent_ask("What is the source of the data?", "source", "data")
