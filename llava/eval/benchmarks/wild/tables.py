"""Real tables for wild pages, from the files that the package vega_datasets ships; nothing is fetched."""

import csv
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from io import StringIO
from itertools import product
from statistics import fmean
from typing import Any

from llava.constants import EXTRA
from llava.pages.characters import PLAIN
from llava.pages.lexicon import MONTHS

PRINTABLE = frozenset((*PLAIN, " "))


@dataclass(frozen=True, kw_only=True)
class Records:
    """A table as it may be printed; a row of it may also fill a form."""

    title: str
    label: str
    """Head of the column that tells the rows apart."""
    columns: tuple[str, ...]
    """Heads of the others."""
    rows: Mapping[str, tuple[str, ...]]
    """Cells by row label, one for each of ``columns``; none is empty."""
    charted: tuple[str, ...] = ()
    """Columns of numbers that can share an axis."""
    summed: bool = False
    """Whether all columns count parts of one whole."""

    @property
    def names(self) -> frozenset[str]:
        """What its cells are asked for by, in small letters."""
        return frozenset(name.lower() for name in (self.label, *self.columns))


def local_data() -> Any:
    """The tables that vega_datasets ships, as it hands them out.

    Raises:
        ValueError: if the package is not installed.
    """
    try:
        from vega_datasets import local_data as tables
    except ImportError as error:
        raise ValueError(f"wild pages show tables of vega_datasets; pip install '{EXTRA}' brings it") from error
    return tables


@cache
def read_rows(name: str) -> tuple[Mapping[str, str], ...]:
    """The rows of a table as they can be printed: at most three decimals, and nothing where there is no value.

    Raises:
        ValueError: if vega_datasets is not installed, or ships no such table.
    """
    tables = local_data()
    if name not in tables.list_datasets():
        raise ValueError(f"vega_datasets ships no {name!r}; use one of {', '.join(tables.list_datasets())}")
    table = getattr(tables, name.replace("-", "_"))
    text = table.raw().decode("utf-8")
    rows = json.loads(text) if table.format == "json" else csv.DictReader(StringIO(text))
    return tuple({key: _printed(value) for key, value in row.items()} for row in rows)


@cache
def real_records() -> tuple[Records, ...]:
    """Every table that wild pages show.

    Raises:
        ValueError: if vega_datasets is not installed.
    """
    return (*_listed_tables(), *_counted_tables(), *_averaged_tables())


def _listed_tables() -> Iterable[Records]:
    airports = {"Airport": "name", "City": "city", "State": "state", "Latitude": "latitude", "Longitude": "longitude"}
    yield _listed("US airports", ("Code", "iata"), airports, read_rows("airports"))
    cars = {"MPG": "Miles_per_Gallon", "Weight": "Weight_in_lbs"}
    cars |= {key: key for key in ("Cylinders", "Displacement", "Horsepower", "Acceleration", "Origin")}
    yield _listed("Cars", ("Model", "Name"), cars, read_rows("cars"), charted=("Horsepower",))
    weather = {
        "Rain": "precipitation",
        "Max temp": "temp_max",
        "Min temp": "temp_min",
        "Wind": "wind",
        "Sky": "weather",
    }
    yield _listed("Weather in Seattle", ("Date", "date"), weather, read_rows("seattle-weather"))
    index = {"Open": "open", "High": "high", "Low": "low", "Close": "close", "Signal": "signal"}
    yield _listed(
        "Volatility index", ("Date", "date"), index, read_rows("ohlc"), charted=("Open", "High", "Low", "Close")
    )
    drugs = {key.replace("_", " "): key for key in ("Penicillin", "Streptomycin", "Neomycin", "Gram_Staining", "Genus")}
    yield _listed("Antibiotics", ("Bacteria", "Bacteria"), drugs, read_rows("burtin"))
    prices = {"Wheat": "wheat", "Wages": "wages"}
    yield _listed("Price of wheat", ("Year", "year"), prices, read_rows("wheat"), charted=tuple(prices))
    driving = {"Miles": "miles", "Gas": "gas"}
    yield _listed("Driving", ("Year", "year"), driving, read_rows("driving"), charted=("Miles",))
    jobs = [{**row, "month": row["month"][:4]} for row in read_rows("us-employment") if row["month"][5:7] == "01"]
    sectors = {key.replace("_", " ").capitalize(): key for key in jobs[0] if key not in ("month", "nonfarm_change")}
    charted = ("Construction", "Information", "Financial activities", "Other services")
    yield _listed("US jobs in thousands", ("Year", "month"), sectors, jobs, charted=charted)


def _counted_tables() -> Iterable[Records]:
    years = sorted({row["date"][:4] for row in read_rows("seattle-weather")})
    for year in years:
        days = (
            (_month(row["date"]), row["weather"], 1.0) for row in read_rows("seattle-weather") if year in row["date"]
        )
        yield _gathered(f"Days of weather {year}", "Month", days, summed=True)
    power = ((row["year"][:4], row["source"], float(row["net_generation"])) for row in read_rows("iowa-electricity"))
    yield _gathered("Electricity in Iowa", "Year", power, summed=True)
    models = ((row["Year"][:4], row["Origin"], 1.0) for row in read_rows("cars"))
    yield _gathered("Models of cars", "Year", models, summed=True)
    fields = ((row["state"], "Airports", 1.0) for row in read_rows("airports"))
    yield _gathered("Airports by state", "State", fields, summed=True)
    deaths = (
        (f"{_month(row['date'])} {row['date'][:4]}", cause.capitalize(), float(row[cause]))
        for row in read_rows("crimea")
        for cause in ("disease", "wounds", "other")
    )
    yield _gathered("Deaths in the Crimean war", "Month", deaths, summed=True)


def _averaged_tables() -> Iterable[Records]:
    for year in ("1931", "1932"):
        yields = (
            (row["variety"], row["site"], float(row["yield"])) for row in read_rows("barley") if row["year"] == year
        )
        yield _gathered(f"Barley {year}", "Variety", yields)
    stocks = ((_quarter(row["date"]), row["symbol"], float(row["price"])) for row in read_rows("stocks"))
    yield _gathered("Stock prices", "Quarter", stocks)
    hours = (
        (_month(row["date"]), city, float(row["temp"]))
        for city, name in (("Seattle", "seattle-temps"), ("San Francisco", "sf-temps"))
        for row in read_rows(name)
    )
    yield _gathered("Temperature in 2010", "Month", hours)
    parts = {"sepalLength": "Sepal length", "sepalWidth": "Sepal width", "petalLength": "Petal length"}
    flowers = ((row["species"], name, 10 * float(row[key])) for row in read_rows("iris") for key, name in parts.items())
    yield _gathered("Iris flowers, mm", "Species", flowers)


def _listed(
    title: str,
    label: tuple[str, str],
    columns: Mapping[str, str],
    rows: Iterable[Mapping[str, str]],
    charted: tuple[str, ...] = (),
) -> Records:
    """Rows as they are; ``label`` and ``columns`` give heads and keys. Of rows with one label the first counts."""
    found: dict[str, tuple[str, ...]] = {}
    for row in rows:
        cells = tuple(row.get(key, "") for key in columns.values())
        if all(cells) and PRINTABLE.issuperset("".join((row[label[1]], *cells))):
            found.setdefault(row[label[1]], cells)
    return Records(title=title, label=label[0], columns=tuple(columns), rows=found, charted=charted)


def _gathered(title: str, label: str, entries: Iterable[tuple[str, str, float]], *, summed: bool = False) -> Records:
    """Sums, or means, of the values of (row, column, value). Where there is none, a sum is 0 and a mean has no row."""
    values: dict[tuple[str, str], list[float]] = {}
    for row, column, value in entries:
        values.setdefault((row, column), []).append(value)
    rows, columns = (tuple(dict.fromkeys(names)) for names in zip(*values, strict=True))
    if summed:
        cells = {key: str(round(sum(values.get(key, ())))) for key in product(rows, columns)}
    else:
        cells = {key: f"{fmean(numbers):.1f}" for key, numbers in values.items()}
    found = {
        row: tuple(cells[row, column] for column in columns)
        for row in rows
        if all((row, column) in cells for column in columns)
    }
    return Records(title=title, label=label, columns=columns, rows=found, charted=columns, summed=summed)


def _month(date: str) -> str:
    """Of a date that begins with year and month."""
    return MONTHS[int(date[5:7]) - 1]


def _quarter(date: str) -> str:
    """Of a date as in "Jan 1 2000"."""
    month, _, year = date.split()
    return f"Q{MONTHS.index(month) // 3 + 1} {year}"


def _printed(value: object) -> str:
    text = "" if value is None else str(value)
    return f"{float(text):.2f}" if re.fullmatch(r"-?\d+\.\d{4,}", text) else text
