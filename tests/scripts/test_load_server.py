"""The load test compares with the answers alone, counts what differs, and stores what it found."""

import json
import re
from pathlib import Path

import pytest

from llava.inference.session import Session
from scripts.load_server import Client, main, measure, requests_for, table
from tests.server_helpers import serving

ROOT = Path(__file__).parents[2]


def test_it_counts_answers_that_differ(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.load_server.requests_for", lambda model: requests_for(model)[:5])
    with serving(session) as served:
        found = measure(served.port, pid=1, clients=3, requests=11, alone=3)
        assert (found["wrong"], found["requests"], found["clients"]) == (0, 11, 3)
        assert found["alone"]["requests"] == 3
        assert found["throughput_ratio"] == found["together"]["per_second"] / found["alone"]["per_second"]
        assert found["together"]["p50"] <= found["together"]["p99"]
        assert len(found["memory_mib"]) >= 11
        # A server that answers one client wrongly now and then.
        asked = iter(range(10**6))
        ask = Client.ask
        monkeypatch.setattr(
            Client, "ask", lambda self, body: ("wrong", 0.1) if next(asked) % 4 == 3 else ask(self, body)
        )
        assert measure(served.port, pid=1, clients=1, requests=8, alone=2)["wrong"] > 0


def test_the_stored_figures_are_of_the_whole_test_and_the_document_tells_them() -> None:
    folder = ROOT / "docs" / "results" / "serve"
    stored = json.loads((folder / "load.json").read_text())
    assert (folder / "load.md").read_text() == table(stored)
    assert stored["wrong"] == 0
    assert stored["requests"] >= 2000
    assert stored["clients"] == 32
    assert stored["note"]
    text = (ROOT / "docs" / "serving.md").read_text()
    told = re.findall(r"\[([\d.,]+)[^\]]*\]\(results/serve/load\.md \"([\w.]+)\"\)", text)
    assert {name for _, name in told} >= {"throughput_ratio", "p50_ratio", "p99_ratio", "memory_growth"}
    for number, name in told:
        value = stored
        for part in name.split("."):
            value = value[part]
        digits = len(number.partition(".")[2])
        assert f"{value:,.{digits}f}" == number, name


def test_options_are_checked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--clients", "0"]) == 2
    assert "--clients" in capsys.readouterr().err
