"""Evidence recall: what survives a choice of tokens, against its slow definition and against planted pages."""

import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from llava.eval.benchmarks.benchmark import BenchmarkSample
from llava.eval.benchmarks.registry import BENCHMARKS
from llava.eval.encoder import PageEncoder
from llava.eval.evidence import evidence_patches_of, evidence_recall
from llava.eval.methods import Method
from llava.inference.session import Session
from shirg.config import ShirgXConfig
from shirg.ink import blank_share
from shirg.survival import surviving_patches
from tests.cli_helpers import QUICK_SHIRG_X

SETTINGS = ShirgXConfig(**QUICK_SHIRG_X, budget=48)


def sample_of(image: Image.Image, *evidence) -> BenchmarkSample:
    return BenchmarkSample(
        id="a-0", page="a", kind="at", question="What?", golds=("star",), image=image, evidence=evidence
    )


def test_evidence_is_the_ink_under_the_boxes():
    pixels = np.full((84, 84, 3), 255, dtype=np.uint8)
    pixels[2:10, 3:11] = 0  # inside the first patch of 14 pixels
    pixels[40:60, 40:60] = 0  # borders of patches around the middle
    sample = sample_of(Image.fromarray(pixels), (0.0, 0.0, 0.3, 0.3))
    assert evidence_patches_of(sample, (6, 6)).nonzero().flatten().tolist() == [0]
    whole = replace(sample, evidence=((0.0, 0.0, 1.0, 1.0),))
    inked = evidence_patches_of(whole, (6, 6))
    assert inked[[0, 14, 28]].all()
    assert not inked[21]  # black all over: no edge, so no ink
    assert not evidence_patches_of(replace(sample, evidence=()), (6, 6)).any()


@pytest.fixture(scope="module")
def encoder_of(quick):
    def make(name: str, *budgets) -> PageEncoder:
        method = Method(name=name, settings=SETTINGS, budgets=budgets)
        return PageEncoder(session=Session.load(quick, shirg=method.patch_settings, device="cpu"), method=method)

    return make


def samples(questions: int = 9) -> list[BenchmarkSample]:
    return list(BENCHMARKS["entitygrid"].samples(split="validation", style="shapes", questions=questions))


def test_everything_survives_where_all_is_kept_and_nothing_where_nothing_is(encoder_of):
    asked = samples()
    every = evidence_recall(encoder_of("all_patches"), asked, [None])[None]
    assert [record.id for record in every] == [sample.id for sample in asked]
    assert all(record.survives and record.share == 1 for record in every)
    none = evidence_recall(encoder_of("scaffold_only"), asked, [None])[None]
    assert not any(record.survives or record.share for record in none)


def test_recall_grows_with_the_budget_and_is_that_of_each_question(encoder_of):
    asked, encoder = samples(), encoder_of("ink", 32, 48)
    small, large = evidence_recall(encoder, asked, (32, 48)).values()
    assert all(few.share <= many.share for few, many in zip(small, large, strict=True))
    assert sum(record.share for record in small) < sum(record.share for record in large)
    assert len({sample.page for sample in asked}) > 1
    for sample, record in zip(asked, small, strict=True):
        page = encoder.encode(sample.page, sample.image)
        tokens = encoder.choose(page, encoder.session.prompt(sample.question)[1], 32).detail
        wanted = evidence_patches_of(sample, (12, 12))
        share = surviving_patches(page.page.encoded.dual, tokens)[0][wanted].float().mean().item()
        assert record.share == pytest.approx(share)
        blank = blank_share(page.page.encoded.dual, tokens)
        assert record.blank_share == pytest.approx(float(blank[0]))
    assert all(record.survives == math.isclose(record.share, 1) for record in small + large)


def test_a_question_without_inked_evidence_is_left_out(encoder_of):
    asked = [replace(samples(1)[0], evidence=())]
    assert evidence_recall(encoder_of("ink", 32), asked, [32]) == {32: []}


def test_stock_has_no_detail_tokens_to_judge(encoder_of):
    with pytest.raises(ValueError, match="not defined for the method stock"):
        evidence_recall(encoder_of("stock"), samples(1), [None])
