"""What the web page shows of an answer, as HTML; everything that was written by people or models is escaped."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from io import BytesIO

from PIL import Image

from llava.inference.dialog import Reply
from llava.inference.heatmap import draw_heatmap

PREVIEW_SIDE = 900
"""Pixels of the longer side."""


def preview(image: Image.Image) -> str:
    """The page that is asked about."""
    small = image.copy()
    small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    return _figure(small, alt="The page", caption=f"{image.width:,} x {image.height:,} pixels")


def answer(text: str) -> str:
    """A finished answer."""
    return f'<p class="answer">{escape(text) or "<em>(empty)</em>"}</p>'


def draft(text: str) -> str:
    """An unfinished one."""
    return f'<p class="draft">{escape(text)}</p>'


def refusal(message: str) -> str:
    """Why there is no answer."""
    return f'<p class="answer" role="alert">{escape(message)}</p>'


def kept(reply: Reply, question: str) -> str:
    """The page with the patches that were kept for the question; nothing where none were chosen."""
    if reply.shirg is None:
        return ""
    prefix = reply.prefixes[0]
    drawn = draw_heatmap(reply.pages[0].image, prefix, reply.shirg, question=question, answer=reply.text)
    alt = (
        f"The page with the {prefix.budget:,} patches bright that were kept for the question {question!r}, others dim, "
        "beside the score of each patch"
    )
    return _figure(drawn, alt=alt, caption="Bright patches were kept for the question; dim ones were dropped.")


def facts(reply: Reply) -> str:
    """How an answer came about, as a table."""
    prefix = reply.prefixes[0]
    rows = {
        "Confidence": f"{reply.confidence:.0%}",
        "Kept detail tokens, K": "all of LaViDa's own" if prefix.budget is None else f"{prefix.budget:,}",
        "Image tokens": f"{reply.image_tokens:,}",
        "Passes through the language model": f"{reply.forwards} ({reply.tokens_per_forward:.1f} tokens each)",
        **{f"Seconds to {stage}": f"{seconds:.2f}" for stage, seconds in reply.seconds.items()},
    }
    if reply.doubt is not None:
        rows["Doubt"] = reply.doubt
    if reply.notes:
        rows["Notes"] = "; ".join(reply.notes)
    cells = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in rows.items()
    )
    return f"<table><caption>How the answer came about</caption>{cells}</table>"


def film(drafts: Sequence[str]) -> str:
    """The answer after every pass."""
    steps = "".join(f"<li>{escape(draft)}</li>" for draft in drafts)
    return f"<details><summary>The answer after each of {len(drafts)} passes</summary><ol>{steps}</ol></details>"


def _figure(image: Image.Image, *, alt: str, caption: str) -> str:
    file = BytesIO()
    image.save(file, "PNG")
    source = f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"
    return f'<figure><img src="{source}" alt="{escape(alt)}"><figcaption>{escape(caption)}</figcaption></figure>'
