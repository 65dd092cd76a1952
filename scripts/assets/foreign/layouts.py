"""Every design of a page: the program that draws it, and the split it belongs to, which no other split shares."""

from collections.abc import Callable

from scripts.assets.foreign import lists, office, papers, plots, reports, specs
from scripts.assets.foreign.draft import Draft, Layout
from scripts.assets.foreign.words import Words

Write = Callable[[Words], Draft]


_ENDINGS = {"chromium": "html", "typst": "typ", "latex": "tex", "groff": "ms"}


_LOOSE = ("invoice", "statement", "letter", "product_sheet", "boxed_form", "price_list", "menu", "recipe")
"""Pages that can stand on larger sheets too, in smaller print."""


def _by(program: str, name: str, split: str, write: Write, template: str = "") -> Layout:
    ending = _ENDINGS.get(program)
    return Layout(
        name=name,
        program=program,
        split=split,
        write=write,
        template=f"{name}.{ending}" if ending else template,
        pages=3 if name in _LOOSE else 2,
    )


LAYOUTS: tuple[Layout, ...] = (
    _by("chromium", "invoice", "test", papers.invoice),
    _by("chromium", "boarding_pass", "test", papers.boarding_pass),
    _by("chromium", "statement", "test", papers.statement),
    _by("chromium", "letter", "test", papers.letter),
    _by("chromium", "certificate", "validation", papers.certificate),
    _by("chromium", "product_sheet", "test", papers.product_sheet),
    _by("chromium", "boxed_form", "test", papers.boxed_form),
    _by("chromium", "recipe", "validation", lists.recipe),
    _by("chromium", "departures", "test", lists.departures),
    _by("chromium", "price_list", "validation", lists.price_list),
    _by("chromium", "league", "validation", lists.league),
    _by("chromium", "menu", "test", lists.menu),
    _by("chromium", "dashboard", "validation", lists.dashboard),
    _by("matplotlib", "bars", "test", plots.bars),
    _by("matplotlib", "lying_bars", "validation", plots.lying_bars),
    _by("matplotlib", "stacked", "test", plots.stacked),
    _by("matplotlib", "lines", "test", plots.lines),
    _by("matplotlib", "pie", "validation", plots.pie),
    _by("matplotlib", "scatter", "test", plots.scatter),
    _by("vega", "lying_bars", "test", specs.vega_bars, "source.json"),
    _by("vega", "groups", "validation", specs.vega_groups, "source.json"),
    _by("vega", "dark_lines", "test", specs.vega_dark_lines, "source.json"),
    _by("vega", "heat", "test", specs.vega_heat, "source.json"),
    _by("gnuplot", "bars", "validation", specs.gnuplot_bars, "source.gp"),
    _by("gnuplot", "lines", "test", specs.gnuplot_lines, "source.gp"),
    _by("latex", "article", "test", reports.article),
    _by("latex", "exam_plan", "validation", reports.exam_plan),
    _by("latex", "programme", "test", reports.programme),
    _by("typst", "receipt", "test", reports.receipt),
    _by("typst", "schedule", "validation", reports.schedule),
    _by("typst", "nutrition", "test", reports.nutrition),
    _by("groff", "memo", "test", reports.memo),
    _by("libreoffice", "minutes", "test", office.minutes, "minutes.fodt"),
    _by("libreoffice", "order", "validation", office.order, "order.fodt"),
    _by("libreoffice", "budget", "test", office.budget, "budget.fods"),
    _by("libreoffice", "shifts", "test", office.shifts, "shifts.fods"),
)
