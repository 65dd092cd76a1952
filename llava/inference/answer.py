"""What a session knows of a page and of a question about it, and how that shows itself to people."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from reprlib import Repr

from PIL import Image
from torch import Tensor

from llava.inference.boxes import draw_boxes, pointed_at
from llava.inference.heatmap import draw_heatmap
from llava.inference.words import Template
from llava.pages import Box
from shirg.config import ShirgXConfig
from shirg.encoded import EncodedPages, ShirgXPrefix

_SHORT = Repr()
_SHORT.maxstring = 80


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class VisualPrefix:
    """What the language model is shown of a page."""

    tokens: Tensor
    """(tokens, width), projected."""
    shirg: ShirgXPrefix | None = None
    """The decision behind it; None for LaViDa's own encoding."""

    def __repr__(self) -> str:
        kept = "" if self.budget is None else f", budget={self.budget}"
        return f"VisualPrefix({len(self.tokens)} tokens{kept})"

    @property
    def budget(self) -> int | None:
        """Detail tokens, K; None for LaViDa's own encoding."""
        return None if self.shirg is None else self.shirg.selection.lengths[0]

    @property
    def scaffold_tokens(self) -> int | None:
        return None if self.budget is None else len(self.tokens) - self.budget


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class EncodedImage:
    """A picture as the model sees it before any question."""

    image: Image.Image
    encoded: EncodedPages | None
    """SHIRG-X's view; None for LaViDa's own encoding."""
    prefix: VisualPrefix | None
    """Given here when no question changes it: LaViDa's own encoding, and selection by attention."""
    seconds: float
    """Time the encoding took."""
    blank: bool = False
    """Whether it shows nothing: no patch of it has ink."""
    notes: tuple[str, ...] = ()
    """What has to be said about it: what its file holds and it does not show, and that it is blank."""

    def __repr__(self) -> str:
        return f"EncodedImage({self.image.width} x {self.image.height} pixels, encoded in {self.seconds:.2f} s)"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Outcome:
    """What came out of one denoising, whatever was asked."""

    tokens: tuple[int, ...]
    """Ids of the whole answer, also behind its end."""
    confidence: float
    """From 0 to 1: the probability of the least sure token at the moment it was settled, the end of turn included."""
    shirg: ShirgXConfig | None
    """How tokens were chosen; None for LaViDa's own encoding."""
    steps: int
    """Denoising steps; ``settled_in`` counts them from 1."""
    forwards: int
    """Passes through the language model that the steps took: as many, or fewer where steps were drafted ahead."""
    tokens_per_forward: float
    """Tokens told, the end of turn included, over ``forwards``."""
    settled_in: tuple[int, ...]
    """The step in which each of ``tokens`` was settled; 0 for a template's own words, and for what no step settled."""
    seconds: dict[str, float]
    """By stage: ``encode`` (of all pages, which their questions share), ``select``, ``denoise`` (prefill included; an
    equal share where several questions were denoised together)."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Denoised(Outcome):
    """What came of a question or a template about one page."""

    prefix: VisualPrefix
    image: Image.Image
    """The page, in RGB."""
    blank: bool = False
    """As of ``EncodedImage``: the answer is about nothing."""
    notes: tuple[str, ...] = ()
    """As of ``EncodedImage``."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Answer(Denoised):
    """The answer to a question: ``print`` shows its text, a notebook shows what was kept for it as well."""

    question: str
    text: str
    doubt: str | None
    """Why nobody should rely on it, in a sentence; None where nothing speaks against it."""

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Answer({_SHORT.repr(self.text)}, confidence={self.confidence:.2f}, {self.prefix!r})"

    def heatmap(self, *, answer_box: tuple[float, float, float, float] | None = None) -> Image.Image:
        """The page with the question, the answer, and what was kept for it.

        Args:
            answer_box: where the right answer stands, to be framed: (x, y, h, w), centroid and extent, each in [0, 1].

        Raises:
            ValueError: if the page was encoded LaViDa's own way, which chooses nothing.
        """
        if self.shirg is None:
            raise ValueError(
                "this answer saw all of LaViDa's own tokens, so there is no choice to draw; load the session with "
                "SHIRG-X"
            )
        return draw_heatmap(
            self.image, self.prefix, self.shirg, question=self.question, answer=str(self), answer_box=answer_box
        )

    def boxes(self, *, answer: Sequence[Box] = (), evidence: Sequence[Box] = ()) -> Image.Image:
        """The page with frames around what is known of the question, and with the most relevant kept patches marked.

        Args:
            answer: where the right answer stands: (x0, y0, x1, y1), each in [0, 1] of the page.
            evidence: what the question names, in the same way.

        Raises:
            ValueError: if there is nothing to draw: no box is known, and the page was encoded LaViDa's own way.
        """
        pointed = () if self.prefix.shirg is None else pointed_at(self.prefix.shirg)
        return draw_boxes(
            self.image, question=self.question, text=self.text, answer=answer, evidence=evidence, pointed=pointed
        )

    def _repr_html_(self) -> str:
        """For notebooks: question, text, confidence, and the heat map where tokens were chosen."""
        words = (
            f"<p><b>{escape(self.question)}</b><br>{escape(self.text) or '<i>(empty)</i>'} "
            f"<small>(confidence {self.confidence:.0%})</small>"
            f"{'' if self.doubt is None else f'<br><small>{escape(self.doubt)}</small>'}</p>"
            + "".join(f"<p><small>{escape(note)}</small></p>" for note in self.notes)
        )
        return words if self.shirg is None else f'{words}<img style="max-width:100%" src="{_inline(self.heatmap())}">'


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Filled(Denoised):
    """A template with its gaps filled."""

    template: Template
    text: str
    gaps: tuple[str, ...]
    """What was written into each gap."""
    doubt: str | None
    """As of an ``Answer``."""

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Filled({_SHORT.repr(self.text)}, confidence={self.confidence:.2f}, {self.prefix!r})"


def doubt_of(text: str, confidence: float, unsure_below: float) -> str | None:
    """Why nobody should rely on an answer, in a sentence; None where nothing speaks against it."""
    if not text.strip():
        return "the answer is empty; the model found nothing that it could read"
    if confidence < unsure_below:
        return (
            f"the model is not sure: confidence {confidence:.2f}, and below {unsure_below:.2f} most answers are wrong"
        )
    return None


def _inline(image: Image.Image) -> str:
    """A picture as the address of itself."""
    file = BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"
