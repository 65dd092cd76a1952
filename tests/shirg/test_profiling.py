"""Stages are counted, nested, switched off and logged."""

import logging
import time

import pytest
import torch

from shirg.profiling import StageTimer


def test_time_is_summed_per_stage():
    timer = StageTimer("cpu")
    for _ in range(3):
        with timer.stage("sleep"):
            time.sleep(0.005)
    with timer.stage("nothing"):
        pass
    report = timer.report()
    assert list(report) == ["sleep", "nothing"]
    assert report["sleep"].calls == 3
    assert report["sleep"].total_ms >= 15
    assert report["sleep"].mean_ms == pytest.approx(report["sleep"].total_ms / 3)
    assert report["nothing"].total_ms < 5
    assert report["sleep"].peak_bytes is None
    assert timer.report() == report


def test_an_outer_stage_includes_its_inner_ones():
    timer = StageTimer("cpu")
    with timer.stage("outer"), timer.stage("inner"):
        time.sleep(0.005)
    report = timer.report()
    assert report["outer"].total_ms >= report["inner"].total_ms >= 5


def test_a_stage_that_fails_is_still_counted():
    timer = StageTimer("cpu")
    with pytest.raises(RuntimeError, match="oops"), timer.stage("broken"):
        raise RuntimeError("oops")
    assert timer.report()["broken"].calls == 1


def test_disabled_does_nothing():
    timer = StageTimer("cpu", enabled=False)
    with timer.stage("quiet"):
        pass
    assert timer.report() == {}


def test_the_report_goes_to_the_log(caplog):
    timer = StageTimer("cpu")
    with timer.stage("score"):
        pass
    with caplog.at_level(logging.DEBUG, logger="shirg"):
        timer.log_report(logging.DEBUG)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("shirg", logging.DEBUG)
    assert record.getMessage().startswith("score: ")
    assert record.getMessage().endswith("ms x 1 calls")


class FakeGpu:
    """An allocator whose current use a test sets, and a clock that ticks a millisecond per event."""

    def __init__(self, monkeypatch):
        self.in_use = self.peak = self.clock = self.waits = 0
        gpu = self

        class Event:
            def __init__(self, *, enable_timing):
                assert enable_timing

            def record(self, stream):
                gpu.clock += 1
                self.at = gpu.clock

            def elapsed_time(self, end):
                assert gpu.waits, "events may only be read after the device has reached them"
                return float(end.at - self.at)

        def synchronize(device):
            gpu.waits += 1

        def reset(device):
            gpu.peak = gpu.in_use

        for name, replacement in {
            "Event": Event,
            "synchronize": synchronize,
            "reset_peak_memory_stats": reset,
            "max_memory_allocated": lambda device: gpu.peak,
            "current_stream": lambda device: None,
        }.items():
            monkeypatch.setattr(torch.cuda, name, replacement)

    def use(self, amount):
        self.in_use = amount
        self.peak = max(self.peak, amount)


def test_gpu_stages_keep_their_own_peaks_and_do_not_wait(monkeypatch):
    gpu = FakeGpu(monkeypatch)
    timer = StageTimer("cuda")
    gpu.use(900)
    gpu.use(100)
    with timer.stage("outer"):
        gpu.use(500)
        gpu.use(200)
        with timer.stage("inner"):
            gpu.use(300)
        gpu.use(100)
    with timer.stage("after"):
        gpu.use(150)
    assert gpu.waits == 0
    report = timer.report()
    assert gpu.waits == 1
    assert {name: stats.peak_bytes for name, stats in report.items()} == {"inner": 300, "outer": 500, "after": 150}
    assert (report["inner"].total_ms, report["outer"].total_ms) == (1.0, 3.0)
    assert timer.report() == report
    assert gpu.waits == 1


def test_an_inner_peak_counts_for_the_outer_stage(monkeypatch, caplog):
    gpu = FakeGpu(monkeypatch)
    timer = StageTimer("cuda")
    with timer.stage("outer"), timer.stage("inner"):
        gpu.use(7_000_000)
        gpu.use(0)
    assert timer.report()["outer"].peak_bytes == 7_000_000
    with caplog.at_level(logging.INFO, logger="shirg"):
        timer.log_report()
    assert caplog.messages[0].endswith("peak 7.0 MB")


@pytest.mark.gpu
def test_a_real_gpu_is_timed_and_its_memory_read():
    timer = StageTimer("cuda")
    with timer.stage("product"):
        square = torch.rand(1024, 1024, device="cuda")
        square = square @ square
    stats = timer.report()["product"]
    assert stats.total_ms > 0
    assert stats.peak_bytes >= 2 * 4 * 1024**2
