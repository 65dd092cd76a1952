"""Where the time and the memory go, stage by stage."""

import logging
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch

logger = logging.getLogger("shirg")


def seconds_now(device: torch.device) -> float:
    """A clock's seconds, read once the GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@dataclass(frozen=True, kw_only=True)
class StageStats:
    """What one stage has cost so far."""

    calls: int
    total_ms: float
    peak_bytes: int | None
    """The most memory allocated on the GPU at any time within the stage; None on other devices."""

    @property
    def mean_ms(self) -> float:
        """Milliseconds per call."""
        return self.total_ms / self.calls


class StageTimer:
    """Collects the time and peak memory of named stages of work on one device.

    On a GPU, events are queued with the work and read only by ``report``, so that timing does not make the host wait;
    peak memory is read by resetting the allocator's peak counter, which is then no longer the whole run's. Elsewhere
    it is wall time. Stages may nest; an outer one includes its inner ones. A disabled timer does nothing.
    """

    def __init__(self, device: torch.device | str, *, enabled: bool = True) -> None:
        self._device = torch.device(device)
        self._enabled = enabled
        self._on_gpu = self._device.type == "cuda"
        self._milliseconds: defaultdict[str, list[float]] = defaultdict(list)
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        self._peaks: dict[str, int] = {}
        self._open: list[str] = []

    def stage(self, name: str) -> AbstractContextManager[None]:
        """A context whose body is counted as one call of this stage."""
        if not self._enabled:
            return nullcontext()
        return self._gpu_stage(name) if self._on_gpu else self._host_stage(name)

    def report(self) -> dict[str, StageStats]:
        """The stages so far, in the order they first ended; waits for the GPU to reach the end of the last one."""
        if self._events:
            torch.cuda.synchronize(self._device)
        for name, start, end in self._events:
            self._milliseconds[name].append(start.elapsed_time(end))
        self._events.clear()
        return {
            name: StageStats(calls=len(times), total_ms=sum(times), peak_bytes=self._peaks.get(name))
            for name, times in self._milliseconds.items()
        }

    def log_report(self, level: int = logging.INFO) -> None:
        """Log one line per stage."""
        for name, stats in self.report().items():
            memory = "" if stats.peak_bytes is None else f", peak {stats.peak_bytes / 1e6:.1f} MB"
            logger.log(level, "%s: %.3f ms x %d calls%s", name, stats.mean_ms, stats.calls, memory)

    @contextmanager
    def _host_stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self._milliseconds[name].append((time.perf_counter() - start) * 1e3)

    @contextmanager
    def _gpu_stage(self, name: str) -> Iterator[None]:
        self._note_peak()
        torch.cuda.reset_peak_memory_stats(self._device)
        self._open.append(name)
        stream = torch.cuda.current_stream(self._device)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record(stream)
        try:
            yield
        finally:
            end.record(stream)
            self._events.append((name, start, end))
            self._note_peak()
            self._open.pop()

    def _note_peak(self) -> None:
        """Credit the allocator's peak to every open stage: an inner stage resets the counter that outer ones need."""
        peak = torch.cuda.max_memory_allocated(self._device) if self._open else 0
        for name in self._open:
            self._peaks[name] = max(self._peaks.get(name, 0), peak)
