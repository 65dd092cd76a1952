"""Requests that nobody would write: each is answered or refused in a sentence, and the server stays as it was."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llava.inference.session import Session
from tests.fuzz.damage import damaged, plain
from tests.server_helpers import Served, ask, file_of, image_part, picture, serving, user

EXPECTED = {200, 400, 403, 404, 413, 415}
FILES = [file_of(picture(1)), file_of(picture(1), "JPEG"), file_of(picture(1), "GIF")]
REQUEST = ask(
    {"role": "system", "content": "Be brief."},
    user(image_part(FILES[0], page=1, detail="low"), "who?"),
    {"role": "assistant", "content": "me"},
    user({"type": "file", "file": {"file_data": "QUJD", "filename": "a.pdf"}}, "why?"),
    max_tokens=2,
    temperature=0.5,
    seed=3,
    stream=False,
    stream_options={"include_usage": True},
    response_format={"type": "text"},
    decoding="fast",
    n=1,
    user="me",
)


@pytest.fixture(scope="module")
def served(session: Session) -> Iterator[Served]:
    with serving(session) as running:
        yield running
        assert running.metric("lavida_failures_total") == 0
        assert running.metric("lavida_in_flight") == 0
        assert running.send("GET", "/ready")[0] == 200


def places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a JSON value."""
    yield here
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*here, key))


def replaced(value: Any, place: tuple[Any, ...], by: Any) -> Any:
    """The value with another at a place."""
    if not place:
        return by
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = replaced(value[place[0]], place[1:], by)
    return copy


def check(served: Served, body: bytes) -> None:
    status, answer = served.post(body)
    assert status in EXPECTED, (status, answer)
    if status != 200:
        assert set(answer) == {"error"}
        assert set(answer["error"]) == {"message", "type", "param", "code"}
        assert answer["error"]["message"]
        assert "Traceback" not in answer["error"]["message"]


@settings(max_examples=max(40, settings().max_examples // 20), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_request_with_anything_anywhere_is_answered_or_refused(served: Served, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(list(places(REQUEST))))
    check(served, json.dumps(replaced(REQUEST, place, data.draw(plain))).encode())


@settings(max_examples=max(20, settings().max_examples // 20), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_body_or_page_is_answered_or_refused(served: Served, data: st.DataObject) -> None:
    if data.draw(st.booleans()):
        check(served, data.draw(damaged([json.dumps(REQUEST).encode()])))
    else:
        page = data.draw(damaged(FILES))
        check(served, json.dumps(ask(user(image_part(page), "who?"), max_tokens=2)).encode())


def test_every_place_of_the_request_is_read_or_refused(served: Served) -> None:
    """No field is passed over: a value of the wrong kind is noticed wherever it stands."""
    passed = []
    for place in places(REQUEST):
        if place[:1] not in (("user",),) and place:
            status, _ = served.post(replaced(REQUEST, place, {"wrong": object.__name__}))
            if status == 200:
                passed.append(place)
    assert not passed
