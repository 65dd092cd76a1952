"""From a benchmark's questions to records: pages encoded once, answers denoised in batches, runs that can go on.

A page is encoded and its tokens are chosen by itself; only denoising is batched. Batches are cut by the number of the
question, so a run that goes on repeats the batch it was killed in and finds what an uninterrupted one finds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from llava.eval.asked import Asked
from llava.eval.benchmarks.benchmark import Benchmark, BenchmarkSample
from llava.eval.encoder import EncodedPage, PageEncoder, Prefix, settings_of
from llava.eval.methods import Budget
from llava.eval.results import AnswerRecord, ResultSet
from llava.inference.checkpoint import Checkpoint
from llava.inference.session import Session
from llava.inference.words import check_question
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.provenance import digest_weights, provenance
from shirg.ink import blank_share
from shirg.profiling import seconds_now


def source_of(session: Session, checkpoint: Checkpoint) -> dict[str, Any]:
    """Which model answers: its names, for people, and a digest of all its weights, so it is made once per model."""
    return {**checkpoint.names, "weights": digest_weights(session.model)}


def resolved_settings(
    asked: Asked, encoder: PageEncoder, decoding: DecodingConfig, budget: Budget, source: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that decides about the answers, as plain values; results with equal settings may share a file.

    How many questions are answered at once, on what machine, and how its steps are launched is not among it.

    Args:
        source: the model, as ``source_of`` tells it.
    """
    shirg = settings_of(encoder.session, budget)
    return {
        "benchmark": asked.benchmark.name,
        "split": asked.split,
        "style": asked.style,
        "data": asked.data or asked.benchmark.hub,
        "questions": asked.total,
        "shard": None if asked.shard is None else str(asked.shard),
        "metrics": list(asked.benchmark.metrics),
        "method": encoder.method.name,
        "budget": budget,
        "seed": encoder.seed,
        **source,
        "dtype": str(encoder.session.model.dtype).removeprefix("torch."),
        "shirg_x": None if shirg is None else shirg.to_dict(),
        "decoding": {name: value for name, value in asdict(decoding).items() if name != "cuda_graph"},
    }


@dataclass(frozen=True, kw_only=True)
class Run:
    """Answers to be given in one way, and where they go."""

    budget: Budget
    decoding: DecodingConfig
    results: ResultSet


def open_runs(
    asked: Asked,
    encoder: PageEncoder,
    decoding: DecodingConfig,
    source: Mapping[str, Any],
    places: Mapping[Budget, Path],
    *,
    batch_size: int,
) -> list[Run]:
    """A run for each budget, with what its directory holds already, for ``evaluate`` to go on with.

    Args:
        source: the model, as ``source_of`` tells it.

    Raises:
        ValueError: if a directory holds results of another setting, or a broken file.
    """
    where = {**provenance(encoder.session.model.device), "batch_size": batch_size}
    return [
        Run(
            budget=budget,
            decoding=decoding,
            results=ResultSet(place, resolved_settings(asked, encoder, decoding, budget, source), where),
        )
        for budget, place in places.items()
    ]


def evaluate(
    asked: Asked,
    encoder: PageEncoder,
    runs: Sequence[Run],
    *,
    batch_size: int,
    on_batch: Callable[[int], object] | None = None,
) -> None:
    """Answer what is not answered yet, for all runs from one encoding of each page; records go to their results.

    Runs take turns, batch by batch, so that their times can be compared.

    Args:
        batch_size: questions denoised together; it changes no answer but by rounding.
        on_batch: told how many questions are done after every batch.

    Raises:
        ValueError: if stored records are about other questions, a question does not fit the context, the benchmark is
            empty, or ``batch_size`` is not positive.
    """
    if batch_size < 1:
        raise ValueError(f"the batch size must be at least 1, got {batch_size}")
    samples, pages, done = asked.samples(), dict[str, EncodedPage](), 0
    while batch := list(islice(samples, batch_size)):
        for run in runs:
            run.results.check(batch, done)
        unfinished = [run for run in runs if len(run.results.records) < done + len(batch)]
        if unfinished:
            pages = _encode(encoder, batch, pages)
        chosen: dict[Budget, _Chosen] = {}
        for run in unfinished:
            if run.budget not in chosen:
                chosen[run.budget] = _choose(encoder, batch, pages, run.budget)
            records = _answer_batch(encoder.session, asked.benchmark, batch, pages, chosen[run.budget], run.decoding)
            run.results.append(records[max(0, len(run.results.records) - done) :])
        done += len(batch)
        if on_batch is not None:
            on_batch(done)
    if not done:
        raise ValueError(f"{asked.benchmark.name} has no questions in its split {asked.split!r}")


@dataclass(frozen=True, kw_only=True)
class _Chosen:
    """What the language model is shown for the questions of a batch."""

    prompts: list[torch.Tensor]
    prefixes: list[Prefix]
    seconds: list[float]


@torch.no_grad()
def _choose(
    encoder: PageEncoder, samples: Sequence[BenchmarkSample], pages: Mapping[str, EncodedPage], budget: Budget
) -> _Chosen:
    session = encoder.session
    chosen = _Chosen(prompts=[], prefixes=[], seconds=[])
    for sample in samples:
        with _named(sample):
            session.check_words(check_question(sample.question))
            ids, question = session.prompt(sample.question)
            start = seconds_now(session.model.device)
            chosen.prefixes.append(encoder.choose(pages[sample.page], question, budget))
            chosen.seconds.append(seconds_now(session.model.device) - start)
            chosen.prompts.append(ids)
    return chosen


@torch.no_grad()
def _answer_batch(
    session: Session,
    benchmark: Benchmark,
    samples: Sequence[BenchmarkSample],
    pages: Mapping[str, EncodedPage],
    chosen: _Chosen,
    decoding: DecodingConfig,
) -> list[AnswerRecord]:
    """The model's answers to some questions about encoded pages, denoised together, with their scores."""
    start = seconds_now(session.model.device)
    spliced = session.model.splice(chosen.prompts, [prefix.tokens for prefix in chosen.prefixes])
    for sample, length in zip(samples, spliced.lengths, strict=True):
        with _named(sample):
            session.model.check_context(length, decoding.max_new_tokens)
    done = session.model.denoise(spliced, decoding)
    rows, forwards = done.tokens.tolist(), done.forwards.tolist()
    counts = [session.count_tokens(row) for row in rows]
    answers = [session.decode(row).strip() for row in rows]
    share = (seconds_now(session.model.device) - start) / len(samples)
    return [
        AnswerRecord(
            id=sample.id,
            page=sample.page,
            kind=sample.kind,
            question=sample.question,
            golds=sample.golds,
            answer=answer,
            scores=benchmark.score(answer, sample.golds, sample.kind),
            detail_tokens=prefix.num_detail,
            total_tokens=len(prefix.tokens),
            traits=sample.traits,
            confidence=round(min(sure[:count]), 6),
            answer_tokens=count,
            forwards=passes,
            blank_share=_blank_share(pages[sample.page], prefix),
            seconds={
                "encode": round(pages[sample.page].page.seconds, 6),
                "select": round(select, 6),
                "denoise": round(share, 6),
            },
        )
        for sample, answer, sure, count, passes, prefix, select in zip(
            samples,
            answers,
            done.probabilities.tolist(),
            counts,
            forwards,
            chosen.prefixes,
            chosen.seconds,
            strict=True,
        )
    ]


def _blank_share(page: EncodedPage, prefix: Prefix) -> float | None:
    if page.page.encoded is None or not prefix.num_detail:
        return None
    assert prefix.detail is not None
    share = blank_share(page.page.encoded.dual, prefix.detail)
    return None if share is None else round(float(share[0]), 6)


@contextmanager
def _named(sample: BenchmarkSample) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"question {sample.id}: {error}") from error


def _encode(
    encoder: PageEncoder, samples: Sequence[BenchmarkSample], known: Mapping[str, EncodedPage]
) -> dict[str, EncodedPage]:
    """The pages of a batch; only the last batch's are remembered, since a page's questions mostly stand together."""
    pages: dict[str, EncodedPage] = {}
    for sample in samples:
        if sample.page not in pages:
            pages[sample.page] = known.get(sample.page) or encoder.encode(
                sample.page, sample.picture_for(encoder.views)
            )
    return pages
