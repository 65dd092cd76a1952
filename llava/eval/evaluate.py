"""From a benchmark's questions to records: pages encoded once, answers denoised in batches, runs that can go on.

A page is encoded and its tokens are chosen by itself; only denoising is batched. Batches are cut by the number of the
question, so a run that goes on repeats the batch it was killed in and finds what an uninterrupted one finds.
"""

from collections.abc import Callable, Mapping, Sequence
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

HOPELESS = 32
"""Questions at the start of which none can be asked before a run is given up."""


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
    stop_on_broken: bool = False,
    on_batch: Callable[[int], object] | None = None,
) -> None:
    """Answer what is not answered yet, for all runs from one encoding of each page; records go to their results.

    Runs take turns, batch by batch, so that their times can be compared. A question that cannot be asked, because its
    image is damaged or it does not fit the context, has a record that says so.

    Args:
        batch_size: questions denoised together; it changes no answer but by rounding.
        stop_on_broken: refuse to go on behind a question that cannot be asked.
        on_batch: told how many questions are done after every batch.

    Raises:
        ValueError: if stored records are about other questions, the benchmark is empty, ``batch_size`` is not positive,
            none of the first questions can be asked, or, with ``stop_on_broken``, any of them cannot.
    """
    if batch_size < 1:
        raise ValueError(f"the batch size must be at least 1, got {batch_size}")
    samples, pages, done = asked.samples(), dict[str, EncodedPage | str](), 0
    # Nothing is written before something could be asked: wrong settings would leave a file that binds the next run.
    waiting: list[list[AnswerRecord]] = [[] for _ in runs]
    while batch := list(islice(samples, batch_size)):
        for run in runs:
            run.results.check(batch, done)
        unfinished = [run for run in runs if len(run.results.records) < done + len(batch)]
        if unfinished:
            pages = _encode(encoder, batch, pages)
        chosen: dict[Budget, list[_Chosen | str]] = {}
        for run in unfinished:
            if run.budget not in chosen:
                chosen[run.budget] = [_choose(encoder, sample, pages, run) for sample in batch]
            broken = [
                (one, fault) for one, fault in zip(batch, chosen[run.budget], strict=True) if isinstance(fault, str)
            ]
            if broken and stop_on_broken:
                raise ValueError(f"question {broken[0][0].id}: {broken[0][1]}")
            records = _answer_batch(encoder.session, asked.benchmark, batch, chosen[run.budget], run.decoding)
            waiting[runs.index(run)] += records[max(0, len(run.results.records) - done) :]
        done += len(batch)
        for run, records in zip(runs, waiting, strict=True):
            if run.results.records or any(record.fault is None for record in records):
                run.results.append(records)
                records.clear()
            elif done == asked.count or done >= HOPELESS:
                raise ValueError(
                    f"none of the first {done} questions could be asked; question {records[0].id}: {records[0].fault}"
                )
        if on_batch is not None:
            on_batch(done)
    if not done:
        raise ValueError(f"{asked.benchmark.name} has no questions in its split {asked.split!r}")


@dataclass(frozen=True, kw_only=True)
class _Chosen:
    """What the language model is shown for a question."""

    prompt: torch.Tensor
    page: EncodedPage
    prefix: Prefix
    seconds: float


@torch.no_grad()
def _choose(
    encoder: PageEncoder, sample: BenchmarkSample, pages: Mapping[str, EncodedPage | str], run: Run
) -> _Chosen | str:
    """Or why the question cannot be asked."""
    session, page = encoder.session, pages.get(sample.page, sample.fault)
    if page is None or isinstance(page, str):
        return str(page)
    try:
        session.check_words(check_question(sample.question))
        prompt, question = session.prompt(sample.question)
        start = seconds_now(session.model.device)
        prefix = encoder.choose(page, question, run.budget)
        seconds = seconds_now(session.model.device) - start
        # The image's tokens take the place of one.
        session.model.check_context(len(prompt) - 1 + len(prefix.tokens), run.decoding.max_new_tokens)
    except ValueError as error:
        return str(error)
    return _Chosen(prompt=prompt, page=page, prefix=prefix, seconds=seconds)


@torch.no_grad()
def _answer_batch(
    session: Session,
    benchmark: Benchmark,
    samples: Sequence[BenchmarkSample],
    chosen: Sequence[_Chosen | str],
    decoding: DecodingConfig,
) -> list[AnswerRecord]:
    """The model's answers to some questions about encoded pages, denoised together, with their scores."""
    start = seconds_now(session.model.device)
    asked = [(sample, one) for sample, one in zip(samples, chosen, strict=True) if isinstance(one, _Chosen)]
    records = {
        sample.id: AnswerRecord.broken(sample, fault)
        for sample, fault in zip(samples, chosen, strict=True)
        if isinstance(fault, str)
    }
    if not asked:
        return list(records.values())
    spliced = session.model.splice([one.prompt for _, one in asked], [one.prefix.tokens for _, one in asked])
    done = session.model.denoise(spliced, decoding)
    rows = done.tokens.tolist()
    counts = [session.count_tokens(row) for row in rows]
    answers = [session.decode(row).strip() for row in rows]
    share = (seconds_now(session.model.device) - start) / len(asked)
    for (sample, one), answer, sure, count, passes in zip(
        asked, answers, done.probabilities.tolist(), counts, done.forwards.tolist(), strict=True
    ):
        records[sample.id] = AnswerRecord(
            id=sample.id,
            page=sample.page,
            kind=sample.kind,
            question=sample.question,
            golds=sample.golds,
            answer=answer,
            scores=benchmark.score(answer, sample.golds, sample.kind),
            detail_tokens=one.prefix.num_detail,
            total_tokens=len(one.prefix.tokens),
            traits=sample.traits,
            confidence=round(min(sure[:count]), 6),
            answer_tokens=count,
            forwards=passes,
            blank_share=_blank_share(one.page, one.prefix),
            seconds={
                "encode": round(one.page.page.seconds, 6),
                "select": round(one.seconds, 6),
                "denoise": round(share, 6),
            },
        )
    return [records[sample.id] for sample in samples]


def _blank_share(page: EncodedPage, prefix: Prefix) -> float | None:
    if page.page.encoded is None or not prefix.num_detail:
        return None
    assert prefix.detail is not None
    share = blank_share(page.page.encoded.dual, prefix.detail)
    return None if share is None else round(float(share[0]), 6)


def _encode(
    encoder: PageEncoder, samples: Sequence[BenchmarkSample], known: Mapping[str, EncodedPage | str]
) -> dict[str, EncodedPage | str]:
    """The pages of a batch, or why they cannot be read; only the last batch's are remembered, since a page's questions
    mostly stand together."""
    pages: dict[str, EncodedPage | str] = {}
    for sample in samples:
        if sample.page in pages or sample.fault is not None:
            continue
        try:
            pages[sample.page] = known.get(sample.page) or encoder.encode(
                sample.page, sample.picture_for(encoder.views)
            )
        except (ValueError, OSError) as error:
            pages[sample.page] = str(error)
    return pages
