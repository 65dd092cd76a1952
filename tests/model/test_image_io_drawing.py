"""No file can stop or fill the machine: pages are drawn by a process that is ended at its limits."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from llava.image_io import DEFAULT_LIMITS, PageLimits, count_pages, load_pages, open_pages
from llava.image_io.drawing import Drawing
from tests.model.test_image_io import encode, refusal, smooth_picture
from tests.model.test_image_io_pdf import write_pdf
from tests.pdf_helpers import endless, one_page

SHORT = PageLimits(seconds=1.5)


def children() -> set[int]:
    """Processes that this one has started and not yet waited for."""
    texts = [(thread / "children").read_text() for thread in Path("/proc/self/task").iterdir()]
    return {int(each) for text in texts for each in text.split()}


def test_a_page_without_end_is_ended_and_named(tmp_path: Path) -> None:
    path, before, start = endless(tmp_path / "a.pdf"), children(), time.monotonic()
    message = refusal(lambda: load_pages(path, limits=SHORT), str(path))
    assert "drawing page 1 takes more than 1.5 s; raise --page-seconds" in message
    assert time.monotonic() - start < 60, "the page alone would take days"
    assert children() == before


def test_a_page_that_fills_the_memory_is_ended_and_named(tmp_path: Path) -> None:
    small = PageLimits(megabytes=48)
    large = tmp_path / "b.tif"
    Image.new("L", (9_000, 9_000)).save(large, compression="tiff_deflate")
    assert large.stat().st_size < 2**20
    for path, what in ((endless(tmp_path / "a.pdf"), "drawing"), (large, "decoding")):
        before = children()
        message = refusal(lambda path=path: load_pages(path, limits=small), str(path))
        assert f"{what} page 1 takes more than 48 MiB; raise --page-megabytes" in message
        assert children() == before


def test_after_a_page_without_end_the_others_are_drawn(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", [(90, 70), (70, 90)])
    with open_pages(path) as pages:
        before = children()
        for process in before:
            os.kill(process, signal.SIGKILL)
        assert "drawing page 1 takes more than 1,024 MiB" in refusal(lambda: pages.read(1), str(path))
        first, second = pages.read(1).image, pages.read(2).image
        assert first.width > first.height
        assert second.width < second.height
        assert not children() & before


def test_a_crash_is_told_from_too_much_memory(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", [(90, 70)])
    with open_pages(path) as pages:
        for process in children():
            os.kill(process, signal.SIGSEGV)
        message = refusal(lambda: pages.read(1), str(path))
    assert "drawing page 1 crashes the process that does it (SIGSEGV); print it to a new PDF" in message


def test_a_slow_page_holds_no_other_up(tmp_path: Path) -> None:
    slow, quick = endless(tmp_path / "a.pdf"), write_pdf(tmp_path / "b.pdf", [(90, 70)])
    told: list[str] = []
    limits = PageLimits(seconds=1_000, megabytes=1_000_000)

    def wait() -> None:
        with open_pages(slow, limits=limits) as pages:
            started.set()
            told.append(refusal(lambda: pages.read(1), str(slow)))

    started, before = threading.Event(), children()
    thread = threading.Thread(target=wait)
    thread.start()
    started.wait()
    (process,) = children() - before
    assert load_pages(quick)[0].width == 2000
    assert thread.is_alive()
    os.kill(process, signal.SIGSEGV)
    thread.join()
    assert "SIGSEGV" in told[0]


def test_the_process_knows_nothing_of_torch_and_is_gone_at_the_end(tmp_path: Path) -> None:
    path, before = write_pdf(tmp_path / "a.pdf", [(90, 70)]), children()
    with open_pages(path) as pages:
        (process,) = children() - before
        pages.read(1)
        mapped = Path(f"/proc/{process}/maps").read_text()
        assert "pdfium" in mapped
        assert "torch" not in mapped
        assert "numpy" not in mapped
        command = Path(f"/proc/{process}/cmdline").read_text()
        assert "child.py" in command
    assert children() == before


@pytest.mark.parametrize("way", ["left open", "killed"])
def test_no_process_outlives_its_parent(tmp_path: Path, way: str) -> None:
    path = write_pdf(tmp_path / "a.pdf", [(90, 70)])
    code = """
import os, signal, sys
from pathlib import Path
from llava.image_io import open_pages
pages = open_pages(sys.argv[1])
pages.__enter__().read(1)
print(Path(f"/proc/self/task/{os.getpid()}/children").read_text(), flush=True)
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""
    run = subprocess.run([sys.executable, "-c", code, path, way], capture_output=True, text=True, check=False)
    process = Path(f"/proc/{int(run.stdout)}")
    end = time.monotonic() + 30
    while process.exists() and "Z" not in (process / "stat").read_text().split()[2] and time.monotonic() < end:
        time.sleep(0.05)
    assert not process.exists() or (process / "stat").read_text().split()[2] == "Z"


def test_control_c_ends_the_parent_and_the_process(tmp_path: Path) -> None:
    path = endless(tmp_path / "a.pdf")
    code = """
import sys
from llava.image_io import PageLimits, open_pages
with open_pages(sys.argv[1], limits=PageLimits(seconds=1000, megabytes=1000000)) as pages:
    print(flush=True)
    try:
        pages.read(1)
    except KeyboardInterrupt:
        import os
        from pathlib import Path
        assert not Path(f"/proc/self/task/{os.getpid()}/children").read_text()
        sys.exit(130)
"""
    run = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True, process_group=0)
    with run:
        assert run.stdout is not None
        run.stdout.readline()
        time.sleep(0.5)  # it may not have begun to wait, which changes nothing
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does
        assert run.wait(timeout=60) == 130


def test_a_page_is_drawn_inside_a_worker_of_a_data_loader(tmp_path: Path) -> None:
    from torch.utils.data import DataLoader

    path = write_pdf(tmp_path / "a.pdf", [(90, 70)])
    loader = DataLoader([path], num_workers=1, collate_fn=lambda paths: load_pages(paths[0])[0].size)
    assert list(loader) == [(2000, 1556)]


def test_the_limits_are_set_beyond_what_the_process_starts_with(tmp_path: Path) -> None:
    """A page that needs a part of its limit is drawn, whatever Python and PDFium take themselves."""
    path = write_pdf(tmp_path / "a.pdf", [(90, 70)])
    assert load_pages(path, limits=PageLimits(megabytes=40))[0].width == 2000
    assert "takes more than 4 MiB" in refusal(lambda: load_pages(path, limits=PageLimits(megabytes=4)), str(path))


def test_an_idle_process_may_wait_longer_than_its_limit(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", [(90, 70)])
    with open_pages(path, limits=SHORT) as pages:
        time.sleep(2)
        assert pages.read(1).image.width == 2000


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "20"])
def test_limits_are_numbers_above_zero(value: object) -> None:
    for name in ("seconds", "megabytes"):
        with pytest.raises(ValueError, match=f"{name} of a page must be a number"):
            PageLimits(**{name: value})


def test_a_fault_of_ours_is_no_refusal(tmp_path: Path) -> None:
    """What is not the file's fault must not be blamed on it."""
    path = write_pdf(tmp_path / "a.pdf", [(90, 70)])
    with path.open("rb") as file, Drawing(file, "a.pdf", "pdf", DEFAULT_LIMITS) as drawing:
        with pytest.raises(RuntimeError, match=r"turning of a\.pdf failed: AttributeError"):
            drawing.ask("turning", "turn")
        assert drawing.ask("drawing", "size", number=1)[0]["size"] == [90, 70]


def test_no_bytecode_is_written_by_the_process(tmp_path: Path) -> None:
    """Its files are cut off at a length, which must not happen to those of others."""
    package = tmp_path / "modules" / "PIL"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('seen')")
    path = tmp_path / "a.tif"
    path.write_bytes(encode(smooth_picture(), "TIFF"))
    code = (
        "import sys; from llava.image_io import count_pages; sys.path.insert(0, sys.argv[1]); count_pages(sys.argv[2])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "modules", path], capture_output=True, text=True, check=False
    )
    assert "seen" in run.stderr
    assert not (package / "__pycache__").exists()


def test_the_count_of_pages_is_under_the_same_limits(tmp_path: Path) -> None:
    path = one_page(tmp_path / "a.pdf")
    assert count_pages(path) == 1
    message = refusal(lambda: count_pages(path, limits=PageLimits(seconds=1e-6)), str(path))
    assert "opening it takes more than 1e-06 s" in message
    assert json.dumps(message)
