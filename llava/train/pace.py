"""How fast a run goes, how much memory it has taken, how long it will take yet; and its log as lines of JSON."""

import json
import math
import resource
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

LOG_FILE = "log.jsonl"


class Pace:
    """Counts what this process has trained on since the last look."""

    def __init__(self) -> None:
        self.counts = Counter[str]()
        self._looked = self._started = time.monotonic()
        self._first_step: int | None = None

    def begin(self, step: int) -> None:
        """A run starts, or goes on, after ``step`` steps."""
        self._looked = self._started = time.monotonic()
        self._first_step = step
        self.counts.clear()

    def look(self, counts: Mapping[str, float], step: int, last_step: int) -> dict[str, float]:
        """Rates since the last look, from counts over all processes, and the hours to the last step."""
        now = time.monotonic()
        passed, self._looked = max(now - self._looked, 1e-9), now
        rates = {f"{name}_per_second": round(count / passed, 3) for name, count in counts.items()}
        done = step - (self._first_step or 0)
        if done > 0:
            rates["hours_left"] = round((now - self._started) / done * (last_step - step) / 3600, 4)
        self.counts.clear()
        return rates | {"gigabytes": round(peak_memory() / 1e9, 3)}


def peak_memory() -> float:
    """The most bytes that this process has held: of its GPU, or of the host where it has none."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return float(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def append_log(out: Path, entry: Mapping[str, Any]) -> None:
    """Add a line to the log of a run; a number that is none is written as a word, which JSON can hold."""
    plain = {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in entry.items()
    }
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOG_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(plain) + "\n")


def cut_log(out: Path, step: int) -> None:
    """Drop the lines behind the step that a run goes on from: those steps come again."""
    file = out / LOG_FILE
    if not file.is_file():
        return
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line).get("step", 0) <= step:
                kept.append(line + "\n")
        except ValueError:  # cut short when the run was killed
            continue
    file.write_text("".join(kept), encoding="utf-8")
