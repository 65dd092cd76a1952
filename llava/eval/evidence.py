"""Evidence recall: does what an answer is read from survive the choice of tokens? And how many of them are blank paper?

It needs no language model, so it is the fast signal by which selection is judged; how well it foretells accuracy is
measured beside it.

Axis names: batch (pages), patches (raster order), tokens (detail tokens of a page).
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from llava.eval.benchmarks.benchmark import BenchmarkSample
from llava.eval.encoder import EncodedPage, PageEncoder
from llava.eval.methods import Budget
from llava.files import write_json
from llava.pages import inked_patches, patches_under
from shirg.ink import blank_share
from shirg.survival import surviving_patches
from shirg.tiling import Grid


@dataclass(frozen=True, kw_only=True)
class EvidenceRecord:
    """How much of what one question is about survived."""

    id: str
    page: str
    kind: str
    survives: bool
    """Whether all inked patches under the answer and under what the question names survive."""
    share: float
    """Of those patches, from 0 to 1."""
    blank_share: float
    """Of the kept detail tokens, those that show nothing but paper."""


EVIDENCE_FILE = "evidence.json"


def store_evidence(directory: Path, questions: Sequence[str], records: Sequence[EvidenceRecord]) -> None:
    """Keep what survives of these questions' evidence beside their answers, which say of what settings it is."""
    write_json(
        {"questions": [*questions], "records": [asdict(record) for record in records]}, directory / EVIDENCE_FILE
    )


def stored_evidence(directory: Path, questions: Sequence[str]) -> list[EvidenceRecord] | None:
    """What ``store_evidence`` kept there; None if it kept nothing, or was asked about other questions.

    Raises:
        ValueError: if the file is broken.
    """
    path = directory / EVIDENCE_FILE
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        records = [EvidenceRecord(**record) for record in stored["records"]]
        return records if stored["questions"] == [*questions] else None
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is broken ({error}); delete it, and it is measured anew") from error


def evidence_patches_of(sample: BenchmarkSample, grid: Grid) -> Tensor:
    """(patches,) bool: the inked patches under the boxes that the question is about."""
    under = patches_under(sample.evidence, grid)
    if under.any():
        under &= inked_patches(_tiled(sample.image, grid), grid)
    return torch.from_numpy(under).flatten()


def _tiled(image: Image.Image, grid: Grid) -> Image.Image:
    """The picture, larger if need be, so that patches hold whole pixels; no new levels arise between its own."""
    width, height = (-(-side // cells) * cells for side, cells in zip(image.size, reversed(grid), strict=True))
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.NEAREST)


@torch.no_grad()
def evidence_recall(
    encoder: PageEncoder, samples: Iterable[BenchmarkSample], budgets: Sequence[Budget]
) -> dict[Budget, list[EvidenceRecord]]:
    """What survives of the evidence of each sample, with each budget; samples of one page stand together.

    Questions whose evidence has no ink (a line to be found empty) are left out.

    Raises:
        ValueError: if the method keeps no detail tokens of its own (LaViDa's own encoding).
    """
    records: dict[Budget, list[EvidenceRecord]] = {budget: [] for budget in budgets}
    page: EncodedPage | None = None
    for sample in samples:
        if page is None or page.name != sample.page:
            page = encoder.encode(sample.page, sample.picture_for(encoder.views))
        if page.page.encoded is None:
            raise ValueError(f"evidence recall is not defined for the method {encoder.method.name}; choose another")
        dual = page.page.encoded.dual
        wanted = evidence_patches_of(sample, dual.grids[0]).to(dual.detail.device)
        if not bool(wanted.any()):
            continue
        question = encoder.session.prompt(sample.question)[1]
        for budget, found in records.items():
            tokens = encoder.choose(page, question, budget).detail
            assert tokens is not None
            share = float(surviving_patches(dual, tokens)[0, wanted].float().mean())
            blank = blank_share(dual, tokens)
            assert blank is not None
            found.append(
                EvidenceRecord(
                    id=sample.id,
                    page=sample.page,
                    kind=sample.kind,
                    survives=share == 1.0,
                    share=share,
                    blank_share=float(blank[0]),
                )
            )
    return records
