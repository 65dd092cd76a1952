"""Batching: whoever asks together is answered as if alone, and whoever leaves costs nobody anything."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llava.inference.decoding import find_decoding
from llava.inference.session import Session
from llava.server.cache import PageCache, num_bytes
from llava.server.config import ServerConfig
from llava.server.engine import Engine
from llava.server.errors import RequestError
from llava.server.fair import FairQueue
from llava.server.files import PageFile
from llava.server.jobs import Asked, AskedTurn, Job
from llava.server.metrics import Metrics
from tests.server_helpers import Served, ask, file_of, image_part, picture, serving, user

QUESTIONS = ("why?", "who signed it on the second page?", "how much is it in all?")


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Semaphore]:
    """The engine's batches wait until they are let through."""
    gate = threading.Semaphore(0)
    denoise = Session.denoise

    def held(self: Session, *args: Any, **kwargs: Any) -> Any:
        assert gate.acquire(timeout=30)
        return denoise(self, *args, **kwargs)

    monkeypatch.setattr(Session, "denoise", held)
    yield gate
    for _ in range(100):
        gate.release()


def wait_for(condition: Any) -> None:
    for _ in range(3000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not come about")


@pytest.fixture
def served(session: Session) -> Iterator[Served]:
    with serving(session, queue=24) as running:
        yield running


def test_requests_that_arrive_meanwhile_are_denoised_together_and_answered_as_alone(served, session, gate):
    requests = [(picture(seed), QUESTIONS[(seed + n) % 3], 5 if seed else 4) for seed in range(3) for n in range(3)]
    expected = []
    for page, words, tokens in requests:
        gate.release()
        expected.append(session.ask(page, words, decoding=find_decoding("fast", max_new_tokens=tokens)).text)
    with ThreadPoolExecutor(len(requests)) as clients:
        answers = [
            clients.submit(served.post, ask(user(image_part(page), words), max_tokens=tokens))
            for page, words, tokens in requests
        ]
        wait_for(lambda: served.metric("lavida_in_flight") == len(requests))
        # One batch is held; everything else waits behind it.
        wait_for(lambda: len(served.engine._queue) >= len(requests) - 3)
        for _ in range(20):
            gate.release()
        answered = [answer.result() for answer in answers]
    assert [status for status, _ in answered] == [200] * len(requests)
    assert [body["choices"][0]["message"]["content"] for _, body in answered] == expected
    assert served.metric("lavida_batch_size_count") < len(requests)
    assert served.metric("lavida_batch_size_sum") == len(requests)
    assert served.metric("lavida_in_flight") == 0


def test_a_full_queue_says_when_to_come_back(session, gate):
    with serving(session, queue=2) as served, ThreadPoolExecutor(2) as clients:
        running = [clients.submit(served.post, ask(user("why?"), max_tokens=3)) for _ in range(2)]
        wait_for(lambda: served.metric("lavida_in_flight") == 2)
        status, headers, body = served.send(
            "POST", "/v1/chat/completions", b"not even read", {"Content-Type": "application/json"}
        )
        assert status == 429
        assert int(headers["retry-after"]) >= 1
        assert b'"type":"rate_limit_error"' in body.replace(b" ", b"")
        gate.release()
        gate.release()
        assert [answer.result()[0] for answer in running] == [200, 200]
        gate.release()
        assert served.post(ask(user("why?"), max_tokens=3))[0] == 200


@pytest.mark.parametrize("stream", [False, True])
def test_whoever_leaves_is_not_answered(session, gate, stream):
    import http.client
    import json

    with serving(session) as served:
        connections = []
        for _ in range(2):
            connection = http.client.HTTPConnection("127.0.0.1", served.port)
            body = json.dumps(ask(user("why?"), stream=stream, decoding="one-per-step"))
            connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
            connections.append(connection)
            wait_for(lambda: served.metric("lavida_in_flight") == len(connections))
        for connection in connections:
            connection.close()
        wait_for(lambda: served.metric("lavida_in_flight") == 0)
        for _ in range(3):
            gate.release()
        wait_for(lambda: served.metric("lavida_abandoned_total") == 2)
        assert served.metric("lavida_forwards_total") == 0
        assert served.post(ask(user("why?"), max_tokens=3))[0] == 200


def test_the_deadline_ends_what_takes_too_long(session, gate):
    with serving(session, deadline_seconds=0.2) as served:
        status, body = served.post(ask(user("why?"), max_tokens=3))
        assert (status, body["error"]["type"]) == (504, "timeout_error")
        gate.release()
        wait_for(lambda: served.metric("lavida_abandoned_total") == 1)


def test_shutting_down_finishes_what_runs(session, gate):
    with ThreadPoolExecutor(3) as clients:
        with serving(session) as served:
            running = [clients.submit(served.post, ask(user(words), max_tokens=3)) for words in QUESTIONS]
            wait_for(lambda: served.metric("lavida_in_flight") == 3)
            threading.Timer(0.3, lambda: [gate.release() for _ in range(3)]).start()
        assert [answer.result()[0] for answer in running] == [200] * 3
        with pytest.raises(RequestError) as caught:
            served.engine.enter()
        assert caught.value.status == 503


def test_one_that_fails_takes_nobody_with_it(session, monkeypatch, gate):
    """A batch that fails is answered one by one; what fails alone is the server's fault, and told without details."""
    held, broken = Session.denoise, "how much is it in all?"

    def fails(self: Session, asked: Any, *args: Any, **kwargs: Any) -> Any:
        if any(broken in self.tokenizer.decode(one.ids[one.ids >= 0]) for one in asked):
            raise RuntimeError("a secret of the server")
        return held(self, asked, *args, **kwargs)

    with serving(session) as served, ThreadPoolExecutor(4) as clients:
        first = clients.submit(served.post, ask(user("first?"), max_tokens=3))
        wait_for(lambda: served.metric("lavida_in_flight") == 1 and not len(served.engine._queue))
        monkeypatch.setattr(Session, "denoise", fails)
        others = [clients.submit(served.post, ask(user(words), max_tokens=3)) for words in QUESTIONS]
        wait_for(lambda: len(served.engine._queue) == 3)
        for _ in range(9):
            gate.release()
        assert first.result()[0] == 200
        answered = [answer.result() for answer in others]
    assert [status for status, _ in answered] == [200, 200, 500]
    assert "secret" not in str(answered)
    assert answered[2][1]["error"]["type"] == "server_error"


@given(
    asked=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["a", "b", None])), max_size=30),
    most=st.integers(1, 7),
)
def test_clients_take_turns(asked: list[tuple[int, str | None]], most: int) -> None:
    queue: FairQueue[tuple[int, str | None, int]] = FairQueue()
    waiting: dict[int, list[tuple[int, str | None, int]]] = {}
    for number, (client, key) in enumerate(asked):
        queue.put(client, (client, key, number))
        waiting.setdefault(client, []).append((client, key, number))
    order = list(waiting)
    while len(queue):
        taken = queue.take(most, lambda item: item[1])
        assert 1 <= len(taken) <= most
        assert len({key for _, key, _ in taken}) == 1
        assert taken[0][1] is not None or len(taken) == 1
        assert taken[0] == waiting[order[0]][0], "the client who waits longest is not first"
        key = taken[0][1]
        for client, items in waiting.items():
            mine = [item for item in taken if item[0] == client]
            fitting = [item for item in items if item[1] == key]
            assert mine == fitting[: len(mine)]
            others = max(sum(item[0] == other for item in taken) for other in waiting)
            assert len(mine) >= min(len(fitting), others - 1) or key is None
        for item in taken:
            waiting[item[0]].remove(item)
        served = [client for client, *_ in taken]
        order = [client for client in order if client not in served] + list(dict.fromkeys(reversed(served)))[::-1]
        order = [client for client in order if waiting[client]]
    assert not any(waiting.values())


def test_pages_are_kept_by_what_they_hold_and_within_bounds(session):
    pages = [session.encode(picture(seed)) for seed in range(4)]
    size = num_bytes(pages[0])
    assert size > pages[0].image.width * pages[0].image.height * 3
    looks: list[bool] = []
    cache = PageCache(2 * size + size // 2, looks.append)
    made: list[int] = []

    def get(number: int) -> object:
        return cache.get(number, lambda: made.append(number) or pages[number])

    assert get(0) is pages[0]
    get(1)
    get(0)
    get(2)
    assert 0 in cache
    assert 1 not in cache
    assert made == [0, 1, 2]
    assert looks == [False, False, True, False]
    assert cache.num_bytes == sum(num_bytes(pages[number]) for number in (0, 2)) <= 2 * size + size // 2
    tiny = PageCache(10)
    assert tiny.get(0, lambda: pages[0]) is pages[0]
    assert len(tiny) == 0
    data = file_of(picture(1))
    same, other = PageFile(data=data, name="image 1"), PageFile(data=bytes(data), name="image 2")
    assert same.key == other.key
    assert (
        len({same.key, PageFile(data=data, name="", page=2).key, PageFile(data=file_of(picture(2)), name="").key}) == 3
    )


def test_a_page_that_left_the_cache_meanwhile_is_drawn_again(session):
    """It was there when the request came, so that nobody drew it, and is gone when its turn comes."""
    engine = Engine(session, ServerConfig(), Metrics())
    asked = Asked(
        turns=(AskedTurn(role="user", parts=(PageFile(data=file_of(picture(1)), name="image 1"), "why?")),),
        decoding=find_decoding("fast", max_new_tokens=3),
    )

    async def answer() -> str:
        engine.start()
        job = Job(asked, {}, born=time.monotonic(), deadline=30)
        engine.submit(job, "me")
        return (await job.reply()).text

    try:
        assert asyncio.run(answer()) == session.ask(picture(1), "why?", decoding=asked.decoding).text
    finally:
        engine.close()
