"""The endpoint as its clients see it: OpenAI's own library, and curl."""

import json
import subprocess
from collections.abc import Iterator
from io import BytesIO

import openai
import pytest

from llava.inference.decoding import find_decoding
from llava.inference.session import Session
from tests.server_helpers import Served, ask, data_url, image_part, picture, serving, user

LONG = "what is written in the second line below the table of the third page"


@pytest.fixture(scope="module")
def served(session: Session) -> Iterator[Served]:
    with serving(session) as running:
        yield running


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none needed", max_retries=0) as client:
        yield client


def test_an_answer_is_the_sessions_own(client, session):
    brief = find_decoding("fast", max_new_tokens=6)
    expected = session.ask(picture(1), "how much?", decoding=brief)
    messages = [user(image_part(picture(1)), "how much?")]
    done = client.chat.completions.create(model="tiny", messages=messages, max_completion_tokens=6)
    choice = done.choices[0]
    assert choice.message.content == expected.text != ""
    assert choice.message.role == "assistant"
    told = session.count_tokens(expected.tokens)
    assert done.usage.completion_tokens == told
    ids = session.prompt("how much?")[0]
    assert done.usage.prompt_tokens == len(ids) - 1 + len(expected.prefix.tokens)
    assert done.usage.total_tokens == done.usage.prompt_tokens + told
    assert done.usage.prompt_tokens_details.image_tokens == len(expected.prefix.tokens)
    about = done.model_extra["lavida"]
    assert about["k"] == [expected.prefix.budget]
    assert about["forwards"] == expected.forwards
    assert about["confidence"] == pytest.approx(expected.confidence, abs=1e-4)
    ended = expected.tokens[told - 1] in (session.model.config.eot_token_id, session.model.config.eos_token_id)
    assert choice.finish_reason == ("stop" if ended else "length")
    assert (done.object, done.model) == ("chat.completion", "tiny")


def test_a_stream_is_the_answer_in_pieces(client, session):
    messages = [user(image_part(picture(2)), "who?")]
    way = {"decoding": "one-per-step"}
    whole = client.chat.completions.create(model="tiny", messages=messages, max_tokens=11, extra_body=way)
    chunks = list(
        client.chat.completions.create(
            model="tiny",
            messages=messages,
            max_tokens=11,
            stream=True,
            stream_options={"include_usage": True},
            extra_body=way,
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len({chunk.id for chunk in chunks}) == 1
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == whole.choices[0].message.content
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert reasons[:-1] == [None] * (len(reasons) - 1)
    assert reasons[-1] == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage
    assert not chunks[-1].choices
    drafts = [chunk.model_extra["draft"] for chunk in chunks if "draft" in chunk.model_extra]
    assert [draft["step"] for draft in drafts] == list(range(1, whole.model_extra["lavida"]["steps"] + 1))
    gaps = [draft["text"].count("\N{MEDIUM SHADE}") for draft in drafts]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] == 10


def test_the_models_are_listed(client):
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").owned_by == "lavida"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-4/o")
    assert caught.value.code == "model_not_found"


def test_errors_are_the_clients_own(client):
    for error, request in (
        (openai.NotFoundError, {"model": "other", "messages": [user("why?")]}),
        (openai.BadRequestError, {"model": "tiny", "messages": [user(image_part(b"no picture"), "why?")]}),
        (openai.BadRequestError, {"model": "tiny", "messages": [user("why?")], "n": 2}),
    ):
        with pytest.raises(error) as caught:
            client.chat.completions.create(**request)
        assert caught.value.type == "invalid_request_error"
        assert caught.value.body["message"]
        with pytest.raises(error):
            client.chat.completions.create(**request, stream=True)


def test_several_pages_and_turns(client, served):
    first, second = image_part(picture(1)), image_part(picture(2))
    two = client.chat.completions.create(model="tiny", messages=[user(first, second, "which?")], max_tokens=7)
    one = client.chat.completions.create(model="tiny", messages=[user(first, "which?")], max_tokens=7)
    assert len(two.model_extra["lavida"]["k"]) == 2
    images = [done.usage.prompt_tokens_details.image_tokens for done in (one, two)]
    assert images[1] > images[0] > 0
    turned = client.chat.completions.create(
        model="tiny",
        messages=[
            {"role": "system", "content": "Answer in one word."},
            user(first, "which?"),
            {"role": "assistant", "content": "this"},
            user("why?"),
        ],
        max_tokens=7,
    )
    brief = client.chat.completions.create(
        model="tiny",
        messages=[{"role": "developer", "content": "Answer in one word."}, user(first, "which?")],
        max_tokens=3,
    )
    assert brief.usage.prompt_tokens < min(turned.usage.prompt_tokens, one.usage.prompt_tokens)
    assert client.chat.completions.create(model="tiny", messages=[user("hello?")], max_tokens=3).usage.prompt_tokens > 0


def test_pages_of_documents(client, session):
    file = BytesIO()
    picture(3, (210, 297)).save(file, "PDF", save_all=True, append_images=[picture(4, (210, 297))])
    part = {"type": "file", "file": {"filename": "a.pdf", "file_data": data_url(file.getvalue(), "application/pdf")}}
    with pytest.raises(openai.BadRequestError, match="2 pages"):
        client.chat.completions.create(model="tiny", messages=[user(part, "who?")])
    part["file"]["page"] = 2
    told = client.chat.completions.create(model="tiny", messages=[user(part, "who?")], max_tokens=32)
    assert told.choices[0].message.content == session.ask(file.getvalue(), "who?", page=2).text


def test_curl(served, session):
    request = ask(user(image_part(picture(5)), "who?"))
    words = [
        "curl",
        "-sS",
        "-N",
        f"{served.url}/v1/chat/completions",
        "-H",
        "Content-Type: application/json",
        "-d",
        "@-",
    ]
    whole = subprocess.run(words, input=json.dumps(request), capture_output=True, text=True, check=True).stdout
    expected = session.ask(picture(5), "who?").text
    assert json.loads(whole)["choices"][0]["message"]["content"] == expected
    streamed = subprocess.run(
        words, input=json.dumps(request | {"stream": True}), capture_output=True, text=True, check=True
    ).stdout
    events = [line.removeprefix("data: ") for line in streamed.split("\n\n") if line]
    assert events[-1] == "[DONE]"
    pieces = [json.loads(event)["choices"][0]["delta"].get("content", "") for event in events[:-1]]
    assert "".join(pieces) == expected


def test_health_and_metrics(served, client):
    client.chat.completions.create(model="tiny", messages=[user(image_part(picture(6)), "who?")], max_tokens=3)
    assert served.send("GET", "/health")[0] == 200
    assert served.send("GET", "/ready")[0] == 200
    status, headers, body = served.send("GET", "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    assert served.metric("lavida_answer_seconds_count") > 0
    assert b'lavida_tokens_total{kind="image"}' in body
    assert b'lavida_requests_total{path="/v1/chat/completions",status="200"}' in body
    before = served.metric("lavida_pages_total")
    client.chat.completions.create(model="tiny", messages=[user(image_part(picture(6)), LONG)], max_tokens=3)
    assert served.metric("lavida_pages_total") == before + 1
    assert b'lavida_pages_total{found="true"}' in served.engine.metrics.text()


def test_what_draws_at_random_depends_on_its_seed_only(client):
    def draw(seed: int) -> str:
        done = client.chat.completions.create(
            model="tiny", messages=[user(image_part(picture(1)), "who?")], temperature=1.5, seed=seed, max_tokens=4
        )
        return str(done.choices[0].message.content)

    assert draw(1) == draw(1)
    assert len({draw(seed) for seed in range(4)}) > 1
