"""What a benchmark is: questions about images in a fixed order, and the metrics that judge answers to them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from PIL import Image

from llava.metrics import METRICS, Metric
from llava.pages import Box
from shirg.tiling import PageViews


class _Picture:
    """An image, or a function that reads it, which is then called whenever the image is asked for."""

    def __set__(self, sample: object, image: Image.Image | Callable[[], Image.Image]) -> None:
        sample.__dict__["image"] = image

    def __get__(self, sample: object, owner: type | None = None) -> Image.Image:
        if sample is None:
            raise AttributeError("image")  # dataclasses take this for a field without a default
        image: Image.Image | Callable[[], Image.Image] = sample.__dict__["image"]
        return image if isinstance(image, Image.Image) else image()


@dataclass(frozen=True, kw_only=True, eq=False)
class BenchmarkSample:
    """One question with its right answers. Drawn pages have their samples together, tables where they have them."""

    id: str
    page: str
    """Names the image; results of one page are not independent of each other."""
    kind: str
    """The kind of question; empty where a benchmark tells none apart."""
    question: str
    """What the model is asked, with any words on how to answer."""
    golds: tuple[str, ...]
    """Every answer that counts as right."""
    image: _Picture = _Picture()
    """RGB. Given as a function, it is read anew whenever it is asked for, and never kept."""
    evidence: tuple[Box, ...] = ()
    """Where on the page the answer and what the question names stand, as far as that is known."""
    traits: Mapping[str, str] = field(default_factory=dict)
    """What differs from page to page, for the report: the name of each trait, and which of its values this page has."""
    fault: str | None = None
    """Why this question cannot be asked, where that is known without its image."""
    render: Callable[[PageViews], Image.Image] | None = None
    """Draws the image as large as a model's views need it; None for pages of one size."""

    def picture_for(self, views: PageViews | None) -> Image.Image:
        """The image for a model with these views of it; None for LaViDa's own."""
        return self.image if views is None or self.render is None else self.render(views)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A set of questions in a fixed order."""

    name: str
    metrics: tuple[str, ...]
    """Keys of ``METRICS``, the main one first."""
    splits: tuple[str, ...]
    """The first is the one to evaluate on."""
    read: Callable[[str, str | None, str | None], Iterable[BenchmarkSample]]
    """The samples of (split, style, data), always in the same order, with a length if there is an end to them."""
    styles: tuple[str, ...] = ()
    """Of drawn pages."""
    style: str | None = None
    """Unless another is asked for."""
    questions: int | None = None
    """So many unless another number is asked for; None for all."""
    hub: str | None = None
    """The repository that is read unless other data is named; None where pages are drawn or lie here."""
    by_kind: Mapping[str, Mapping[str, Metric]] = field(default_factory=dict)
    """Metrics that judge some kind of question in their own way."""
    corpus_metrics: tuple[str, ...] = ()
    """Keys of ``CORPUS_METRICS``, told after the others."""

    def check(self, *, split: str, style: str | None, data: str | None = None) -> None:
        """Refuse what the benchmark does not have, before anything is drawn or read.

        Raises:
            ValueError: naming it.
        """
        if split not in self.splits:
            raise ValueError(f"{self.name} has no split {split!r}; use one of {', '.join(self.splits)}")
        if style is not None and not self.styles:
            raise ValueError(f"{self.name} is not drawn and has no style {style!r}; leave the style out")
        if self.styles and style not in self.styles:
            raise ValueError(f"{self.name} has no style {style!r}; use one of {', '.join(self.styles)}")
        if data is not None and self.hub is None:
            how = "is drawn" if self.styles else "has its pages with it"
            raise ValueError(f"{self.name} {how} and reads no data; leave {data!r} out")

    def open(self, *, split: str, style: str | None = None, data: str | None = None) -> Iterable[BenchmarkSample]:
        """All samples, to be gone through any number of times; those of drawn pages have no end and no length.

        Args:
            data: a directory or a name on the hub, instead of ``hub``.

        Raises:
            FileNotFoundError: if there is no such directory.
            ValueError: if there is no such split or style, or the data cannot be asked about.
        """
        self.check(split=split, style=style, data=data)
        return self.read(split, style, data)

    def samples(
        self, *, split: str, style: str | None = None, questions: int | None = None, data: str | None = None
    ) -> Iterator[BenchmarkSample]:
        """The first ``questions`` samples, or as many as there are; the last page's may be cut.

        Raises:
            FileNotFoundError, ValueError: as ``open``, and if no question is asked for.
        """
        check_questions(questions)
        return islice(self.open(split=split, style=style, data=data), questions)

    def score(self, answer: str, golds: tuple[str, ...], kind: str = "") -> dict[str, float]:
        """The answer judged by each metric, from 0 to 1."""
        judges: dict[str, Metric] = {name: METRICS[name] for name in self.metrics} | dict(self.by_kind.get(kind, {}))
        return {name: judge(answer, golds) for name, judge in judges.items()}


def check_questions(number: int | None) -> None:
    """Refuse to ask nothing.

    Raises:
        ValueError: if the number is not positive.
    """
    if number is not None and number < 1:
        raise ValueError(f"the number of questions must be at least 1, got {number}")
