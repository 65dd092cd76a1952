"""Conversations through lmms-eval's own run: several turns, several images, several rounds."""

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pytest
from PIL import Image

from llava.image_io import load_image
from llava.inference.checkpoint import BUNDLED_MODEL, Checkpoint
from llava.inference.decoding import DECODING
from llava.inference.dialog import Turn, answer_dialogs, prepare_dialog
from llava.inference.session import Session
from llava.serve.demo import GALLERIES
from tests.lmms_helpers import ARGUMENTS, TOKENS, Finished, answers_of, requests, run_lmms, write_rows

pytestmark = [
    pytest.mark.skipif(find_spec("lmms_eval") is None, reason="lmms-eval is not installed"),
    pytest.mark.filterwarnings("default"),
]

PAGES = [GALLERIES["typed"] / "entity_grid_1.png", *sorted(GALLERIES["typed"].glob("*.png"))[:2]]
QUESTIONS = ["Count the stars.", "Where is the red hexagon?", "Which figure is in row 2, column A?"]
SECOND_ROUND = "In which row is it?"

TASK = """
task: {name}
dataset_path: parquet
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: {kind}
doc_to_visual: !function local_words.visuals
doc_to_text: !function local_words.{text}
{messages}
doc_to_target: question
generation_kwargs:
  max_new_tokens: 64
process_results: !function local_words.score
metric_list:
  - metric: told
    aggregation: !function local_words.mean
    higher_is_better: true
"""
WORDS = f"""
def visuals(doc):
    return [doc["image"].convert("RGB")]


def text(doc, lmms_eval_specific_kwargs=None):
    return doc["question"]


def messages(doc, lmms_eval_specific_kwargs=None):
    image = {{"type": "image", "url": doc["image"].convert("RGB")}}
    return [
        {{"role": "system", "content": [{{"type": "text", "text": "Be brief."}}]}},
        {{"role": "user", "content": [image, {{"type": "text", "text": "What is this?"}}]}},
        {{"role": "assistant", "content": [{{"type": "text", "text": "A page."}}]}},
        {{"role": "user", "content": [
            {{"type": "text", "text": "compare"}}, image, image, {{"type": "text", "text": doc["question"]}}
        ]}},
    ]


def rounds(doc, lmms_eval_specific_kwargs=None, round_idx=None, previous_output=None, previous_round_info=None):
    if round_idx is None:
        return doc["question"]
    if round_idx == 1:
        return visuals(doc), f"{SECOND_ROUND} ({{len(previous_output)}})", False, previous_output, "first"
    assert (round_idx, previous_round_info) == (2, "first")
    return None, None, True, [*previous_output, "end"], None


def score(doc, results):
    return {{"told": float(len(str(results[0])) > 0)}}


def mean(scores):
    return sum(scores) / len(scores)
"""


@pytest.fixture(scope="module")
def session() -> Session:
    return Session.open(Checkpoint.resolve(BUNDLED_MODEL, changes={"budget": 512}), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    directory = tmp_path_factory.mktemp("tasks") / "local"
    directory.mkdir()
    rows = [{"image": str(page), "question": each} for page, each in zip(PAGES, QUESTIONS, strict=True)]
    write_rows(directory / "rows.parquet", rows)
    (directory / "local_words.py").write_text(WORDS)
    for name, kind, text in (
        ("local_dialogs", "generate_until", "text"),
        ("local_rounds", "generate_until_multi_round", "rounds"),
    ):
        given = "doc_to_messages: !function local_words.messages" if kind == "generate_until" else ""
        words = TASK.format(name=name, data=directory / "rows.parquet", kind=kind, text=text, messages=given)
        (directory / f"{name}.yaml").write_text(words)
    return run_lmms(directory, tmp_path_factory.mktemp("out"), "--tasks", "local_dialogs,local_rounds")


def test_turns_and_images_are_asked_as_they_stand(finished: Finished, session: Session) -> None:
    dialogs = []
    for path, question in zip(PAGES, QUESTIONS, strict=True):
        page = session.encode(load_image(path))
        turns = [
            Turn(parts=(page, "What is this?")),
            Turn(role="assistant", parts=("A page.",)),
            Turn(parts=("compare", page, page, question)),
        ]
        dialogs.append(prepare_dialog(session, turns, system="Be brief."))
    replies = answer_dialogs(session, dialogs, decoding=replace(DECODING, max_new_tokens=TOKENS))
    samples = finished.samples["local_dialogs"]
    assert len({reply.text for reply in replies}) > 1
    assert answers_of(samples) == [reply.text for reply in replies]
    counts = [each["token_counts"][0] for each in sorted(samples, key=lambda each: each["doc_id"])]
    assert [(each["input_tokens"], each["output_tokens"]) for each in counts] == [
        (reply.prompt_tokens, reply.told) for reply in replies
    ]


def test_rounds_follow_each_other(finished: Finished, session: Session) -> None:
    """Each is asked by itself, the second with what the first gave; the task has the last word on what was said."""
    decoding = replace(DECODING, max_new_tokens=TOKENS)
    expected = []
    for path, question in zip(PAGES, QUESTIONS, strict=True):
        page = session.encode(load_image(path))
        asked = session.ask(page, [question, f"{SECOND_ROUND} (1)"], decoding=decoding)
        expected.append([*(answer.text for answer in asked), "end"])
    assert answers_of(finished.samples["local_rounds"]) == expected


@pytest.fixture(scope="module")
def model() -> Any:
    from lmms_eval.models import get_model

    return get_model("lavida")(**ARGUMENTS)


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_films_and_sounds_are_refused(model: Any, kind: str) -> None:
    content = [{"type": kind, "url": "it"}, {"type": "text", "text": "What is it?"}]
    (request,) = requests(model, [("", {}, [{"role": "user", "content": content}])])
    question, generation, give, *place = request.arguments
    request.arguments = (question, give, generation, *place)
    with pytest.raises(ValueError, match=rf"document 0 of t \(test\) shows {kind} content, but lavida reads text"):
        model.generate_until([request])


def test_both_classes_build_the_same_prompt(model: Any) -> None:
    """Of a question and its image as lmms-eval's chat tasks give them by themselves."""
    from llava.eval.lmms.model import LavidaSimple

    image = Image.new("RGB", (40, 30), "white")
    (simple,) = requests(model, [("What is it?", {}, [image])])
    content = [{"type": "image", "url": image}, {"type": "text", "text": "What is it?"}]
    question, generation, _, *place = simple.arguments
    (chat,) = requests(model, [("", {}, [image])])
    chat.arguments = (question, lambda _: [{"role": "user", "content": content}], generation, *place)
    given = LavidaSimple.read_request(model, simple)[1](), model.read_request(chat)[1]()
    assert given[0] == given[1]
