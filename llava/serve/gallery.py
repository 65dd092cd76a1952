"""The page that shows what a demonstration did."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from llava.metrics.match import exact_match

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 3rem; border-bottom: 1px solid #ddd; }
figure { margin: 1.5rem 0; } img { max-width: 100%; max-height: 40rem; border: 1px solid #ddd; }
table { border-collapse: collapse; } th, td { padding: .25rem 1.25rem .25rem 0; text-align: left; vertical-align: top; }
th { color: #666; font-weight: normal; } .right { color: #00703c; } .note { background: #fff4d6; padding: .5rem 1rem; }
"""

_ABOUT = (
    "Bright patches were kept for the question, dimmed ones dropped, and outlined ones merged; "
    "the frame is where the answer stands. The language model sees the kept patches and a coarse view of the page."
)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One question of the demonstration and what became of it."""

    page: str
    question: str
    answer: str
    expected: str
    k: int | None
    forwards: int
    """Passes through the language model."""
    picture: str | None
    """File name beside the index page; None when nothing was selected."""

    @property
    def is_right(self) -> bool:
        """Whether the answer is the expected one up to case and spaces."""
        return exact_match(self.answer, [self.expected]) == 1


def index_page(shown: Sequence[Shown], *, model: str, untrained: bool) -> str:
    """HTML with relative links, one section per page, in the order given."""
    sections = "".join(
        f"<h2>{escape(page)}</h2>\n" + "".join(_figure(item) for item in items)
        for page, items in groupby(shown, lambda item: item.page)
    )
    note = '<p class="note">This model is untrained: its answers mean nothing.</p>\n' if untrained else ""
    right = sum(item.is_right for item in shown)
    about = f"Model: {escape(model)}. {right} of {len(shown)} answers right. {_ABOUT}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>LaViDa with SHIRG-X</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>LaViDa with SHIRG-X</h1>\n<p>{about}</p>\n"
        f"{note}{sections}</body>\n</html>\n"
    )


def _figure(item: Shown) -> str:
    rows = {"question": item.question, "answer": item.answer or "(empty)", "right answer": item.expected}
    if item.k is not None:
        rows["K"] = f"{item.k:,}"
    mark = ' class="right"' if item.is_right else ""
    cells = "".join(
        f"<tr><th>{name}</th><td{mark if name == 'answer' else ''}>{escape(value)}</td></tr>\n"
        for name, value in rows.items()
    )
    image = "" if item.picture is None else f'<img src="{escape(item.picture)}" alt="kept patches" loading="lazy">\n'
    return f"<figure>\n<table>\n{cells}</table>\n{image}</figure>\n"
