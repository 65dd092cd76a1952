"""Wild pages drawn once for several tests, and the files that they are drawn of."""

import csv
import io
import json
from functools import cache
from importlib.resources import files

from llava.eval.benchmarks.wild import WILD
from llava.pages import Mark, Page, PageQuestion, PageStream

PAGES = {("chart_page", "large_print"): 40, ("chart_page", "full"): 12, ("chart_page", "shapes"): 20}
PAGES |= {("doc_page", "large_print"): 20, ("doc_page", "full"): 40, ("doc_page", "shapes"): 20}


@cache
def wild(family: str, style: str) -> list[Page]:
    stream = PageStream(family, "wild", seed=3, style=style, drawers=WILD)
    return [stream[index] for index in range(PAGES[family, style])]


def asked(family: str) -> list[tuple[Page, PageQuestion]]:
    pages = [page for key in PAGES if key[0] == family for page in wild(*key)]
    return [(page, question) for page in pages for question in page.questions]


@cache
def shipped(name: str) -> list[dict]:
    """A table as the file has it, read without any of the code that draws."""
    text = files("vega_datasets").joinpath("_data", name).read_text()
    return json.loads(text) if name.endswith("json") else list(csv.DictReader(io.StringIO(text)))


def overlap(first: Mark, second: Mark, axis: int) -> float:
    return min(first.box[axis + 2], second.box[axis + 2]) - max(first.box[axis], second.box[axis])
