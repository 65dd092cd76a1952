"""Public sets, read from small local copies in their schema; nothing is fetched."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
from PIL import Image

from llava.data.conversations import ConversationDataset
from llava.data.real_sets import REAL_SETS, FileSet, TableRecords, TableSet, choose_answer, read_real_set
from llava.data.records import SHORT_ANSWER
from tests.cli_helpers import write_page
from tests.data.test_conversations import PROCESSOR, TOKENIZER, VIEWS, learned, no_tokens
from tests.data.test_mixture import record, talk, write_json

TEXT = datasets.Value("string")
TEXTS = datasets.List(TEXT)
TURNS = datasets.List({"from": TEXT, "value": TEXT})
SCHEMAS = {
    "chartqa": {
        "image": datasets.Image(),
        "query": TEXT,
        "label": TEXTS,
        "human_or_machine": datasets.ClassLabel(names=["human", "machine"]),
    },
    "docvqa": {
        "questionId": datasets.Value("int32"),
        "question": TEXT,
        "question_types": TEXTS,
        "image": datasets.Image(),
        "docId": datasets.Value("int32"),
        "ucsf_document_id": TEXT,
        "ucsf_document_page_no": TEXT,
        "answers": TEXTS,
    },
    # As lmms-lab/textvqa has them.
    "textvqa": {
        "image_id": TEXT,
        "question_id": datasets.Value("int32"),
        "question": TEXT,
        "question_tokens": TEXTS,
        "image": datasets.Image(),
        "image_width": datasets.Value("int32"),
        "image_height": datasets.Value("int32"),
        "flickr_original_url": TEXT,
        "flickr_300k_url": TEXT,
        "answers": TEXTS,
        "image_classes": TEXTS,
        "set_name": TEXT,
        "ocr_tokens": TEXTS,
    },
    # Those columns of vidore/infovqa_train that are read.
    "infovqa": {"query": TEXT, "answer": TEXT, "image": datasets.Image()},
    "llava_next": {"id": TEXT, "conversations": TURNS, "data_source": TEXT, "image": datasets.Image()},
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def picture(width: int) -> Image.Image:
    return Image.linear_gradient("L").resize((width, 19)).convert("RGB")


def write_table(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    """A directory as downloaded from the hub; columns that a row leaves out are None."""
    schema = datasets.Features(SCHEMAS[name])
    columns = {column: [row.get(column) for row in rows] for column in schema}
    place = folder / name
    (place / "data").mkdir(parents=True)
    file = place / "data" / "train-00000-of-00001.parquet"
    datasets.Dataset.from_dict(columns, features=schema).to_parquet(str(file))
    return place


def test_chartqa_becomes_questions_with_short_answers(tmp_path):
    rows = [
        {"image": picture(23), "query": "How many bars? ", "label": ["7"], "human_or_machine": 0},
        {"image": picture(29), "query": "Which is red?", "label": ["Peru"], "human_or_machine": 1},
    ]
    place = write_table(tmp_path, "chartqa", rows)
    data = ConversationDataset(read_real_set("chartqa", place), TOKENIZER, PROCESSOR, VIEWS, image_tokens=no_tokens)
    assert data.check(strict=True).num_samples == 2
    samples = list(data)
    assert [sample.id for sample in samples] == ["chartqa/0#0", "chartqa/1#0"]
    assert [sample.image_sizes for sample in samples] == [((23, 19),), ((29, 19),)]
    assert samples[0].question.text == f"How many bars?{SHORT_ANSWER}"
    assert learned(samples[1].labels).startswith("Peru<|eot_id|>")


def test_docvqa_learns_the_first_answer_and_keeps_its_ids(tmp_path):
    rows = [
        {"questionId": 337, "question": "What is the date?", "image": picture(23), "answers": ["1/8/93", "1/8/1993"]},
        {"questionId": 341, "question": "Who signed?", "image": picture(29), "answers": []},
    ]
    records = read_real_set("docvqa", write_table(tmp_path, "docvqa", rows))
    assert [read.id for read in records] == ["docvqa/337", "docvqa/341"]
    assert records[0].turns == (("user", f"<image>\nWhat is the date?{SHORT_ANSWER}"), ("assistant", "1/8/93"))
    assert records[1].bad == "it has no question or no answer"


def test_textvqa_learns_what_most_of_ten_people_say(tmp_path):
    rows = [
        {
            "question_id": 7,
            "question": "Which brand?",
            "image": picture(23),
            "answers": ["a", "nokia", "nokia", *["?"] * 1],
        },
        {"question_id": 9, "question": "What time?", "image": picture(29), "answers": ["5:40"] * 10},
    ]
    records = read_real_set("textvqa", write_table(tmp_path, "textvqa", rows))
    assert [read.id for read in records] == ["textvqa/7", "textvqa/9"]
    assert records[0].turns == (("user", f"<image>\nWhich brand?{SHORT_ANSWER}"), ("assistant", "nokia"))
    assert records.load_images(records[1], 1)[0].size == (29, 19)


def test_infovqa_is_read_from_the_hub_s_train_split(tmp_path):
    rows = [{"query": "How many? ", "answer": "12%", "image": picture(23)}, {"query": "?", "answer": None}]
    records = read_real_set("infovqa", write_table(tmp_path, "infovqa", rows))
    assert records[0].turns == (("user", f"<image>\nHow many?{SHORT_ANSWER}"), ("assistant", "12%"))
    assert records[1].bad == "it has no image"


def test_conversations_keep_their_turns_and_may_have_no_image(tmp_path):
    rows = [
        {"id": "a", "conversations": talk("<image>\nWhat?", "That.", "Why?", "So."), "image": picture(23)},
        {"id": "b", "conversations": talk("Hello", "Hi.")},
        {"id": "a", "conversations": talk("What?", "That."), "image": picture(29)},
        {"id": "c", "conversations": talk("<image>\nWhat?", "That.")},
    ]
    records = read_real_set("llava_next", write_table(tmp_path, "llava_next", rows))
    assert [read.id for read in records] == ["llava_next/a", "llava_next/b", "llava_next/a@2", "llava_next/c"]
    assert list(records.num_answers) == [2, 1, 1, 0]
    assert records[1].images == ()
    assert records[2].turns[0] == ("user", "<image>\nWhat?")
    assert records[3].bad == "it has 0 images but 1 <image> placeholders"
    (image,) = records.load_images(records[2], 1)
    assert image.size == (29, 19)


def test_images_belong_to_their_rows_when_rows_are_sampled_or_shuffled(tmp_path):
    rows = [{"image": picture(20 + number), "query": f"{number}?", "label": [str(number)]} for number in range(13)]
    rows[5]["image"] = None
    place = write_table(tmp_path, "chartqa", rows)

    def check(records: TableRecords, count: int) -> None:
        assert len(records) == count
        for read in records:
            if read.bad is None:
                (image,) = records.load_images(read, 1)
                assert image.width == 20 + int(read.turns[1][1])
        assert sum(read.bad is not None for read in records) <= 1

    check(read_real_set("chartqa", place, sampling_strategy="end:5"), 5)
    sampled = read_real_set("chartqa", place, sampling_strategy="random:7", seed=3)
    check(sampled, 7)
    others = read_real_set("chartqa", place, sampling_strategy="random:7", seed=4)
    assert [read.id for read in sampled] != [read.id for read in others]
    table = datasets.load_dataset(str(place), split="train").shuffle(seed=0)
    shuffled = TableRecords(table, REAL_SETS["chartqa"])
    check(shuffled, 13)
    assert [read.bad for read in shuffled].count("it has no image") == 1
    check(pickle.loads(pickle.dumps(sampled)), 7)


def test_a_damaged_image_in_a_table_is_skipped_with_its_row(tmp_path):
    rows = [
        {"image": {"bytes": b"no image", "path": None}},
        {"image": {"bytes": b"", "path": None}},
        {"image": picture(23)},
    ]
    rows = [row | {"query": "?", "label": ["A"]} for row in rows]
    records = read_real_set("chartqa", write_table(tmp_path, "chartqa", rows))
    sample = ConversationDataset(records, TOKENIZER, PROCESSOR, VIEWS, image_tokens=no_tokens)[0]
    assert sample.id == "chartqa/2#0"
    assert sample.skipped[0].startswith("chartqa/0#0: Cannot read the image of row 0 of chartqa: it holds text")
    assert sample.skipped[1] == "chartqa/1#0: row 1 of chartqa holds no image"


def test_images_that_are_files_are_read(tmp_path):
    page = write_page(tmp_path / "page.png", (37, 31))
    rows = datasets.Dataset.from_dict(
        {"image": [str(page)], "query": ["?"], "label": [["A"]]},
        features=datasets.Features({"image": datasets.Image(), "query": TEXT, "label": TEXTS}),
    )
    records = TableRecords(rows, REAL_SETS["chartqa"])
    assert records.load_images(records[0], 1)[0].size == (37, 31)


def test_choosing_among_several_answers():
    answers = ["two", " 2", "2", "", "three"]
    assert choose_answer(answers) == "two"
    assert choose_answer(answers, "most_common") == "2"
    assert choose_answer(["b", "a", "a", "b"], "most_common") == "b"
    assert choose_answer("plain ") == "plain"
    for nothing in (None, [], ["", " "], "", [None], 7):
        assert choose_answer(nothing) is None
        assert choose_answer(nothing, "most_common") is None


def test_most_common_reaches_the_records(tmp_path):
    kind = replace(REAL_SETS["docvqa"], answer_choice="most_common", suffix="")
    rows = [{"questionId": 3, "question": "Which?", "image": picture(23), "answers": ["x", "y", "y"]}]
    (read,) = read_real_set(kind, write_table(tmp_path, "docvqa", rows))
    assert [text for _, text in read.turns] == ["<image>\nWhich?", "y"]


@pytest.mark.parametrize("name", ["lcs558k", "open_llava_next"])
def test_sets_of_files_are_read_below_their_directory(tmp_path, name):
    kind = REAL_SETS[name]
    assert isinstance(kind, FileSet)
    write_json(tmp_path / kind.json_path, [record(id=number, image="00453/004.png") for number in range(5)])
    place = tmp_path / kind.image_folder / "00453"
    place.mkdir(parents=True)
    write_page(place / "004.png", (29, 23))
    records = read_real_set(name, tmp_path, sampling_strategy="first:40%")
    assert [read.id for read in records] == [f"{name}/0", f"{name}/1"]
    assert records.missing_images(records[0], 1) == []
    assert records.load_images(records[0], 1)[0].size == (29, 23)


# What is refused


def test_wrong_names_and_places_are_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no real set 'docvq'; did you mean 'docvqa'"):
        read_real_set("docvq")
    with pytest.raises(FileNotFoundError, match=r"there is no directory .*gone with chartqa"):
        read_real_set("chartqa", tmp_path / "gone")
    with pytest.raises(ValueError, match="lcs558k must be downloaded from liuhaotian/LLaVA-Pretrain"):
        read_real_set("lcs558k")
    (tmp_path / "images").mkdir()
    with pytest.raises(FileNotFoundError, match="there is no data file at"):
        read_real_set("lcs558k", tmp_path)


def test_tables_of_another_form_are_refused(tmp_path):
    place = write_table(tmp_path, "chartqa", [{"image": picture(23), "query": "?", "label": ["A"]}])
    with pytest.raises(ValueError, match="docvqa has no column answers, question, questionId; it has image, query"):
        read_real_set("docvqa", place)
    with pytest.raises(ValueError, match=r"cannot be opened as chartqa, split val: Unknown split"):
        read_real_set(replace(REAL_SETS["chartqa"], split="val"), place)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty cannot be opened as chartqa"):
        read_real_set("chartqa", tmp_path / "empty")


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"question": "q"},
        {"answers": "a"},
        {"question": "q", "answers": "a", "conversations": "c"},
        {"question": "q", "answers": "a", "answer_choice": "longest"},
    ],
)
def test_descriptions_must_say_what_is_learned(columns):
    with pytest.raises(ValueError, match=r"question and answers, or conversations|answer_choice"):
        TableSet(name="s", hub="h/s", **columns)
