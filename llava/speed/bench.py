"""Times, floors, launches and memory of an answer, stage by stage, for several ways to give it in one run.

Ways take turns in every round, so that whatever else the machine does meets all of them alike, and only their ratios
are a result.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lavida_shirg_integration import ShirgXHandle, apply_shirg_x
from llava.mm_utils import process_images
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.model.splice import PromptEmbeds
from llava.speed.floors import Peaks, stage_floors
from llava.speed.workload import Workload
from shirg.config import ShirgXConfig
from shirg.profiling import seconds_now

CHOOSING = ("ink", "budget", "similarity", "score", "merge", "select")
"""What SHIRG-X adds between the vision tower and the projector."""
COUNTED = ("encode", "select", "prefill", "step")
"""Stages whose launches are counted."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a page is encoded, and how an answer about it is denoised."""

    name: str
    shirg: ShirgXConfig | None
    """None for LaViDa's own encoding."""
    decoding: DecodingConfig


@dataclass(kw_only=True)
class _Run:
    """A way while it is measured."""

    way: Way
    times: dict[str, list[float]] = field(default_factory=dict)
    shape: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, device: torch.device) -> Iterator[None]:
        start = seconds_now(device)
        yield
        self.times.setdefault(name, []).append((seconds_now(device) - start) * 1e3)


@torch.no_grad()
def measure(
    model: LavidaForMaskedDiffusion,
    ways: Sequence[Way],
    work: Workload,
    peaks: Peaks,
    *,
    rounds: int,
    on_round: Callable[[int], object] | None = None,
) -> list[dict[str, Any]]:
    """What each way costs: medians over ``rounds``, after one more to warm up.

    Stages are timed apart, each waiting for the device; ``answer``, from picture to tokens, in a run of its own that
    waits for nothing in between. ``denoise`` begins with a prefill; ``step`` is a forward of the answer behind it.
    """
    runs = [_Run(way=way) for way in ways]
    for number in range(rounds + 1):
        for run in runs:
            _time_once(model, run, work)
            if number == 0:
                run.times.clear()
        if on_round is not None:
            on_round(number)
    return [_summarize(model, run, work, peaks) for run in runs]


def _time_once(model: LavidaForMaskedDiffusion, run: _Run, work: Workload) -> None:
    device, decoding = model.device, run.way.decoding
    with _patched(model, run.way) as handle:
        with run.stage("preprocess", device):
            views = _views(model, work)
        if handle is None:
            with run.stage("encode", device):
                visual = model.encode_images(views, [work.image.size])[0]
        else:
            visual = _encode_by_stages(handle, views, work, run)
        prompt = model.splice([work.prompt_ids], [visual])
        with run.stage("prefill", device):
            model.model.prefill(prompt.embeds, prompt.lengths, num_answer=decoding.max_new_tokens)
        with run.stage("denoise", device):
            done = model.denoise(prompt, decoding)
        run.shape = {
            "views": sum(len(view) for view in views),
            "visual_tokens": len(visual),
            "prefix_tokens": prompt.lengths[0],
            "forwards": int(done.forwards[0]),
        }
    with _patched(model, run.way, timed=False), run.stage("answer", device):
        _answer(model, work, decoding)


@contextmanager
def _patched(model: LavidaForMaskedDiffusion, way: Way, *, timed: bool = True) -> Iterator[ShirgXHandle | None]:
    with nullcontext() if way.shirg is None else apply_shirg_x(model, way.shirg.replace(debug=timed)) as handle:
        yield handle


def _views(model: LavidaForMaskedDiffusion, work: Workload) -> list[Tensor]:
    return process_images([work.image], model.get_vision_tower().image_processor, model.config)


def _encode_by_stages(handle: ShirgXHandle, views: list[Tensor], work: Workload, run: _Run) -> Tensor:
    visual = handle.select_tokens(handle.encode_pages(views, [work.image.size]), [work.question]).sequences[0]
    spent = {name: stats.total_ms for name, stats in handle.timer.report().items()}
    for stage, parts in (("encode", ("encode",)), ("select", CHOOSING), ("project", ("project",))):
        run.times.setdefault(stage, []).append(sum(spent.get(part, 0.0) for part in parts))
    return visual


def _answer(model: LavidaForMaskedDiffusion, work: Workload, decoding: DecodingConfig) -> None:
    visual = model.encode_images(_views(model, work), [work.image.size], [work.question])
    model.denoise(model.splice([work.prompt_ids], visual), decoding)


def _summarize(model: LavidaForMaskedDiffusion, run: _Run, work: Workload, peaks: Peaks) -> dict[str, Any]:
    milliseconds = {name: statistics.median(values) for name, values in run.times.items()}
    # Denoising begins with a prefill. Medians are subtracted: single runs differ by more than a step takes.
    milliseconds["step"] = max(0.0, milliseconds["denoise"] - milliseconds["prefill"]) / run.shape["forwards"]
    floors = stage_floors(model, run.way.shirg, peaks, answer=run.way.decoding.max_new_tokens, **run.shape)
    launches, peak = _count(model, run, work)
    return {
        "name": run.way.name,
        **run.shape,
        "milliseconds": milliseconds,
        "floor_ms": floors,
        "over_floor": {name: milliseconds[name] / floor for name, floor in floors.items() if floor > 0},
        "launches": launches,
        "peak_gb": peak,
    }


def _count(model: LavidaForMaskedDiffusion, run: _Run, work: Workload) -> tuple[dict[str, float], float | None]:
    """Launches by stage, and the most memory that was allocated on a GPU during one answer."""
    decoding, device = run.way.decoding, model.device
    counts: dict[str, float] = {}
    with _patched(model, run.way, timed=False) as handle:
        views = _views(model, work)
        visual: list[Tensor] = []
        prompt: list[PromptEmbeds] = []

        def encode() -> None:
            if handle is None:
                visual.append(model.encode_images(views, [work.image.size])[0])
            else:
                pages.append(handle.encode_pages(views, [work.image.size]))

        pages: list[Any] = []
        counts["encode"] = count_launches(encode, device)
        if handle is not None:
            counts["select"] = count_launches(
                lambda: visual.append(handle.select_tokens(pages[0], [work.question]).sequences[0]), device
            )
        prompt.append(model.splice([work.prompt_ids], visual))
        counts["prefill"] = count_launches(
            lambda: model.model.prefill(prompt[0].embeds, prompt[0].lengths, num_answer=decoding.max_new_tokens), device
        )
        whole = count_launches(lambda: model.denoise(prompt[0], decoding), device)
        counts["step"] = (whole - counts["prefill"]) / run.shape["forwards"]
        if device.type != "cuda":
            return counts, None
        torch.cuda.reset_peak_memory_stats(device)
        _answer(model, work, decoding)
        return counts, torch.cuda.max_memory_allocated(device) / 1e9


class _Operators(TorchDispatchMode):
    """Counts the operators that are dispatched, views among them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def count_launches(run: Callable[[], object], device: torch.device) -> int:
    """Kernels that ``run`` starts on a GPU; operators that it dispatches elsewhere."""
    if device.type != "cuda":
        with _Operators() as operators:
            run()
        return operators.count
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        run()
        torch.cuda.synchronize(device)
    kernels = (event for event in profiled.events() if event.device_type == torch.autograd.DeviceType.CUDA)
    return sum(not event.name.startswith(("Memcpy", "Memset")) for event in kernels)
