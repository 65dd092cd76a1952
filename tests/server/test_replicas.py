"""Two replicas behind Ray Serve answer as one session does, whoever asks: OpenAI's client, LangChain's, LiteLLM's.

`make replicas` installs what this needs.
"""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI

from llava.inference.session import Session
from llava.serve.demo import GALLERIES

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="make replicas installs what this needs"),
    pytest.mark.filterwarnings("default"),
]

ROOT = Path(__file__).parents[2]
REPLICAS = 2
PATIENCE = 300
"""Seconds for anything to happen, on a busy machine."""
ENTRIES = json.loads((GALLERIES["typed"] / "pages.json").read_text())[::3]
NAME = "lavida-small"


def messages(entry: dict[str, Any]) -> list[dict[str, Any]]:
    page = base64.b64encode((GALLERIES["typed"] / entry["image"]).read_bytes()).decode()
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{page}"}}
    return [{"role": "user", "content": [image, {"type": "text", "text": entry["question"]}]}]


@pytest.fixture(scope="module")
def expected() -> list[str]:
    """The answers of a session."""
    with Session.load(device="cpu") as session:
        return [session.ask(GALLERIES["typed"] / entry["image"], entry["question"]).text for entry in ENTRIES]


def start(*words: str) -> subprocess.Popen[str]:
    settings = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "examples" / "replicas.py"), *words],
        env={**os.environ, **settings},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and where it is asked."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = start("--replicas", str(REPLICAS), "--port", str(port), "--device", "cpu")
    assert process.stderr is not None
    for line in process.stderr:
        if "replicas answer at" in line:
            break
    yield process, f"http://127.0.0.1:{port}"
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


@pytest.fixture(scope="module")
def client(running: tuple[subprocess.Popen[str], str]) -> OpenAI:
    return OpenAI(base_url=f"{running[1]}/v1", api_key="none needed", timeout=PATIENCE, max_retries=0)


def test_every_answer_is_the_session_s_and_both_replicas_give_some(client: OpenAI, expected: list[str]) -> None:
    def ask(entry: dict[str, Any]) -> tuple[str, str]:
        told = client.chat.completions.with_raw_response.create(model=NAME, messages=messages(entry))
        return told.parse().choices[0].message.content, told.headers["x-replica"]

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(ask, [entry for entry in ENTRIES for _ in range(2)]))
    assert [text for text, _ in told] == [text for text in expected for _ in range(2)]
    assert len({replica for _, replica in told}) == REPLICAS


def test_probes_and_refusals_come_through(running: tuple[subprocess.Popen[str], str], client: OpenAI) -> None:
    assert [httpx.get(f"{running[1]}{path}").status_code for path in ("/health", "/ready", "/nowhere")] == [
        200,
        200,
        404,
    ]
    assert [model.id for model in client.models.list()] == [NAME]
    refused = httpx.post(f"{running[1]}/v1/chat/completions", json={"model": NAME, "messages": []})
    assert refused.status_code == 400
    assert "messages" in refused.json()["error"]["message"]


def test_langchain_asks_and_streams(running: tuple[subprocess.Popen[str], str], expected: list[str]) -> None:
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model=NAME, base_url=f"{running[1]}/v1", api_key="none needed", timeout=PATIENCE)
    answer = model.invoke(messages(ENTRIES[0]))
    assert answer.content == expected[0]
    assert answer.usage_metadata["output_tokens"] > 0
    assert "".join(chunk.content for chunk in model.stream(messages(ENTRIES[1]))) == expected[1]


def test_litellm_asks_and_streams(running: tuple[subprocess.Popen[str], str], expected: list[str]) -> None:
    import litellm

    about = {"model": f"openai/{NAME}", "api_base": f"{running[1]}/v1", "api_key": "none needed", "timeout": PATIENCE}
    whole = litellm.completion(messages=messages(ENTRIES[0]), **about)
    assert whole.choices[0].message.content == expected[0]
    chunks = litellm.completion(messages=messages(ENTRIES[1]), stream=True, **about)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == expected[1]


def test_a_replica_that_dies_is_replaced(running: tuple[subprocess.Popen[str], str], client: OpenAI) -> None:
    process, _ = running
    replicas = [pid for pid in children(process.pid) if "ServeReplica" in command_of(pid)]
    assert len(replicas) == REPLICAS
    os.kill(replicas[0], signal.SIGKILL)
    names: set[str] = set()
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            told = client.chat.completions.with_raw_response.create(model=NAME, messages=messages(ENTRIES[0]))
        except Exception:  # what the dead one was asked is lost
            continue
        names.add(told.headers["x-replica"])
        alive = [pid for pid in children(process.pid) if "ServeReplica" in command_of(pid)]
        if len(alive) == REPLICAS and replicas[0] not in alive and len(names) > 1:
            break
        time.sleep(1)
    assert len(names) > 1
    assert replicas[0] not in alive


def test_told_to_stop_it_leaves_nothing_behind(running: tuple[subprocess.Popen[str], str]) -> None:
    process, url = running
    started = children(process.pid)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{url}/health")
    end = time.monotonic() + PATIENCE
    while any(command_of(pid) for pid in started) and time.monotonic() < end:
        time.sleep(0.5)
    assert not [command_of(pid) for pid in started if command_of(pid)]


def test_what_cannot_be_served_is_said_before_anything_starts(tmp_path: Path) -> None:
    for words, said in (
        (("--replicas", "0"), "--replicas"),
        (("--model", str(tmp_path / "none")), "none"),
        (("--host", "0.0.0.0"), "give --api-key-file"),
        (("--budgt", "512"), "--budgt"),
    ):
        process = start(*words)
        assert said in process.communicate(timeout=PATIENCE)[1].strip().splitlines()[-1]
        assert process.returncode == 2


def children(pid: int) -> list[int]:
    """All processes below one."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *children(child)]
    return found


def command_of(pid: int) -> str:
    """What a process calls itself; nothing if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except FileNotFoundError:
        return ""
