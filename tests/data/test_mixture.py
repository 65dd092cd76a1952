"""Records and mixtures of them: what is taken, what is bad, and what is refused before the first step."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from llava.data.mixture import Mixture, choose, read_mixture, read_sources
from llava.data.records import read_record, unique_ids
from llava.pages import PageStream, page_records
from llava.seeds import stable_seed

CONFIGS = Path(__file__).parent.parent.parent / "configs" / "data"


def talk(*texts: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[number % 2], "value": text} for number, text in enumerate(texts)]


def record(**changes: Any) -> dict[str, Any]:
    return {"id": "r", "image": "a.png", "conversations": talk("<image>\nWhat?", "That.")} | changes


def write_json(path: Path, records: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records), encoding="utf-8")
    return path


def write_mixture(path: Path, *datasets: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"datasets": list(datasets)}))
    return path


def read_one(**changes: Any) -> Any:
    return read_record(record(**changes), id="s/r", source="s")[0]


# One record


def test_a_record_keeps_its_turns_images_and_folder(tmp_path):
    turns = talk("<image>\n<image>\nWhich is older?", "The first.", "Why?", "Its <paper>.")
    raw = record(image=["a.png", "b/c.png"], conversations=turns)
    (read,) = read_mixture(write_json(tmp_path / "set.json", [raw]))
    assert read.id == "set/r"
    assert read.source == "set"
    assert read.images == ("a.png", "b/c.png")
    assert read.folder == str(tmp_path)
    assert read.bad is None
    assert read.turns == (
        ("user", "<image>\n<image>\nWhich is older?"),
        ("assistant", "The first."),
        ("user", "Why?"),
        ("assistant", "Its <paper>."),
    )


def test_roles_and_keys_of_chat_files_are_read_too():
    chat = [{"role": "user", "content": "<image> What?"}, {"role": "assistant", "content": "That."}]
    assert read_one(conversations=chat).turns == (("user", "<image> What?"), ("assistant", "That."))


@pytest.mark.parametrize("image", [None, "", [], "absent"])
def test_a_record_without_images_is_text_only(image):
    raw = record(image=image, conversations=talk("What?", "That."))
    if image == "absent":
        del raw["image"]
    read, _ = read_record(raw, id="s/r", source="s")
    assert read.bad is None
    assert read.images == ()
    assert read.turns[0] == ("user", "What?")


def test_a_single_image_without_placeholder_leads_the_first_question():
    read = read_one(conversations=talk("What?", "That.", "Why?", "So."))
    assert [text for _, text in read.turns] == ["<image>\nWhat?", "That.", "Why?", "So."]


def test_written_placeholders_stay_where_they_are():
    texts = ["Hello", "Hi.", "Left <image> or right <image>?", "Left."]
    read = read_one(image=["a", "b"], conversations=talk(*texts))
    assert [text for _, text in read.turns] == texts


def test_turns_before_the_first_question_are_left_out_and_counted(tmp_path):
    system = {"from": "system", "value": "Be terse."}
    greeting = {"from": "gpt", "value": "Welcome."}
    raws = [
        record(conversations=[system, *talk("<image>What?", "That.")]),
        record(conversations=[system, greeting, *talk("<image>What?", "That.")]),
        record(),
    ]
    mixture = read_mixture(write_json(tmp_path / "set.json", raws))
    assert [len(read.turns) for read in mixture] == [2, 2, 2]
    assert mixture[1].turns[0] == ("user", "<image>What?")
    assert mixture.summaries[0].num_turns_left_out == 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"conversations": None}, "list of turns"),
        ({"conversations": []}, "list of turns"),
        ({"conversations": ["What?", "That."]}, "turn 1 must hold from and value"),
        ({"conversations": [{"from": "narrator", "value": "x"}]}, "turn 1 is from 'narrator'"),
        ({"conversations": [{"from": ["gpt"], "value": "x"}]}, "turn 1 is from"),
        ({"conversations": [*talk("<image>?"), {"from": "gpt", "value": 7}]}, "value of turn 2"),
        ({"conversations": talk("<image>?", "A.", "And?")}, "alternate from human to gpt"),
        ({"conversations": talk("<image>?", "A.")[1:]}, "alternate"),
        ({"conversations": talk("<image>?", "A.")[:1] * 2}, "alternate"),
        ({"conversations": [*talk("<image>?", "A."), {"from": "system", "value": "x"}]}, "alternate"),
        ({"conversations": talk("<image>?", " \n")}, "assistant is empty"),
        ({"conversations": talk(" ", "A.")}, "user is empty"),
        ({"conversations": talk("<image>?", "This: <image>")}, "an answer holds <image>"),
        ({"conversations": talk("<image>\ud800?", "A.")}, "lone surrogate"),
        ({"conversations": talk("<image><image>?", "A.")}, "1 images but 2"),
        ({"image": ["a", "b"], "conversations": talk("?", "A.")}, "2 images but 0"),
        ({"image": None}, "0 images but 1"),
        ({"image": {"path": "a"}}, "file name or a list"),
        ({"image": [1]}, "file name or a list"),
        ({"image": 1}, "file name or a list"),
    ],
)
def test_a_bad_record_is_kept_with_its_reason(changes, reason):
    read = read_one(**changes)
    assert reason in read.bad
    assert read.turns == ()
    assert read.images == ()


def test_bad_records_are_counted_and_good_ones_stay(tmp_path):
    raws = [record(id="a"), "text", record(id="c", image=None), None, record(id="e")]
    mixture = read_mixture(write_json(tmp_path / "set.json", raws))
    assert [read.bad is None for read in mixture] == [True, False, False, False, True]
    assert [read.id for read in mixture] == ["set/a", "set/1", "set/c", "set/3", "set/e"]
    assert list(mixture.num_answers) == [1, 0, 0, 0, 1]
    assert mixture.summaries[0].num_bad == 3


def test_ids_are_unique_whatever_the_file_holds():
    ids = unique_ids(["a", "a", None, "", 0, "a", "a@5", "2", "\ud800"], "s")
    assert ids == ["s/a", "s/a@1", "s/2", "s/3", "s/0", "s/a@5", "s/a@5@6", "s/2@7", "s/?"]


@given(st.lists(st.sampled_from(["a", "b", "a@1", "b@2", "", None, 3]), max_size=13))
def test_ids_never_repeat_and_do_not_depend_on_later_records(values):
    ids = unique_ids(values, "s")
    assert len(set(ids)) == len(values)
    assert unique_ids(values[:5], "s") == ids[:5]


# The store


def test_the_store_is_a_sequence_that_pickles_small(tmp_path):
    raws = [record(id=f"é{number}", conversations=talk("<image>ñ?", "字")) for number in range(101)]
    mixture = read_mixture(write_json(tmp_path / "set.json", raws))
    assert len(mixture) == 101
    assert mixture[-1] == mixture[100]
    assert mixture[100].id == "set/é100"
    assert [read.id for read in mixture[7:11]] == ["set/é7", "set/é8", "set/é9", "set/é10"]
    with pytest.raises(IndexError):
        mixture[101]
    pickled = pickle.dumps(mixture)
    assert list(pickle.loads(pickled)) == list(mixture)
    assert len(pickled) < 101 * 100


def test_images_are_named_from_the_folder_and_looked_for(tmp_path, page):
    (tmp_path / "images").mkdir()
    page.rename(tmp_path / "images" / "a.png")
    raw = record(image=["a.png", "gone.png"], conversations=talk("<image>?", "A.", "<image>?", "B."))
    mixture = read_mixture(write_json(tmp_path / "set.json", [raw]), image_folder=tmp_path / "images")
    assert mixture.missing_images(mixture[0], 1) == []
    assert mixture.missing_images(mixture[0], 2) == [str(tmp_path / "images" / "gone.png")]
    (image,) = mixture.load_images(mixture[0], 1)
    assert image.size == (173, 131)
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        mixture.load_images(mixture[0], 2)


# Sampling


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("all", range(11)),
        ("first:3", range(3)),
        ("first:99", range(11)),
        ("end:3", range(8, 11)),
        ("end:99", range(11)),
        ("first:10%", range(2)),
        ("end:10%", range(9, 11)),
        ("first:0.1%", range(1)),
        ("first:100%", range(11)),
        ("random:100%", range(11)),
        ("random:11", range(11)),
    ],
)
def test_strategies_take_what_llava_next_takes(strategy, expected):
    assert choose(strategy, 11, seed=0, name="s") == list(expected)


def test_a_percentage_is_exact_where_floats_are_not():
    assert len(choose("first:0.07%", 10_000, seed=0, name="s")) == 7  # 0.07 * 10000 / 100 is 7.000000000000001


@given(st.integers(1, 97), st.integers(0, 5), st.sampled_from("ab"), st.integers(1, 100))
def test_random_takes_a_growing_share_in_order(count, seed, name, percent):
    chosen = choose(f"random:{percent}%", count, seed=seed, name=name)
    assert len(chosen) == -(-percent * count // 100)
    assert chosen == sorted(set(chosen))
    assert set(chosen) <= set(range(count))
    assert set(chosen) <= set(choose(f"random:{min(100, percent + 7)}%", count, seed=seed, name=name))
    ranked = sorted((stable_seed("choose", seed, name, index), index) for index in range(count))
    assert set(chosen) == {index for _, index in ranked[: len(chosen)]}


def test_random_depends_on_the_seed_and_the_source_alone():
    def take(seed, name):
        return choose("random:31", 1009, seed=seed, name=name)

    assert take(0, "a") == take(0, "a")
    assert take(0, "a") != take(1, "a")
    assert take(0, "a") != take(0, "b")
    thirds = [
        sum(index * 3 // 1009 == third for index in choose("random:303", 1009, seed=0, name="a")) for third in range(3)
    ]
    assert min(thirds) > 70  # 101 each on average


@pytest.mark.parametrize(
    "strategy",
    [
        "some",
        "first",
        "first:",
        "first:-3",
        "first:x",
        "last:3",
        "first:0",
        "end:0%",
        "first:101%",
        "first:1.5",
        None,
        7,
    ],
)
def test_other_strategies_are_refused(strategy):
    with pytest.raises(ValueError, match="sampling_strategy"):
        choose(strategy, 11, seed=0, name="s")


# Files


def test_a_yaml_file_joins_files_relative_to_itself(tmp_path):
    write_json(tmp_path / "sets" / "a.json", [record(id=number) for number in range(7)])
    lines = [json.dumps(record(id=number)) for number in range(5)]
    (tmp_path / "sets" / "b.jsonl").write_text("\n\n".join(lines) + "\n")
    (tmp_path / "images").mkdir()
    path = write_mixture(
        tmp_path / "configs" / "mix.yaml",
        {"json_path": "../sets/a.json", "sampling_strategy": "end:2", "image_folder": "../images"},
        {"json_path": str(tmp_path / "sets" / "b.jsonl"), "sampling_strategy": "first:40%", "name": "lines"},
        {"json_path": "../sets/a.json", "sampling_strategy": "first:1"},
    )
    mixture = read_mixture(path)
    assert [read.id for read in mixture] == ["a/5", "a/6", "lines/0", "lines/1", "a-2/0"]
    folders = [Path(read.folder).resolve() for read in mixture]
    assert folders == [tmp_path / "images"] * 2 + [tmp_path / "sets"] * 3
    assert [(s.name, s.num_records, s.num_chosen) for s in mixture.summaries] == [
        ("a", 7, 2),
        ("lines", 5, 2),
        ("a-2", 7, 1),
    ]


def test_ids_do_not_depend_on_what_is_sampled(tmp_path):
    path = write_json(tmp_path / "a.json", [record(id="same") for _ in range(3)])
    last = write_mixture(tmp_path / "mix.yaml", {"json_path": "a.json", "sampling_strategy": "end:1"})
    assert read_mixture(last)[0].id == read_mixture(path)[2].id == "a/same@2"


def test_the_seed_reaches_random_strategies(tmp_path):
    write_json(tmp_path / "a.json", [record(id=number) for number in range(101)])
    path = write_mixture(tmp_path / "mix.yaml", {"json_path": "a.json", "sampling_strategy": "random:7"})
    taken = [[read.id for read in read_mixture(path, seed=seed)] for seed in (0, 0, 1)]
    assert taken[0] == taken[1] != taken[2]
    assert len(taken[0]) == 7


def test_drawn_pages_are_read_back(tmp_path):
    page = PageStream("entity_grid", "train", 0, style="large_print")[0]
    raws = page_records(page, "p", "images/p.png")
    mixture = read_mixture(write_json(tmp_path / "pages.json", raws))
    assert [read.turns[1][1] for read in mixture] == [question.answer for question in page.questions]
    assert {read.images for read in mixture} == {("images/p.png",)}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_example_configs_are_mixtures(path):
    sources = read_sources(path)
    assert sources
    for source in sources:
        place = source.json_path.resolve()
        assert CONFIGS.parent.parent in place.parents
        assert place.relative_to(CONFIGS.parent.parent).parts[0] in {"data", "outputs"}


# What is refused


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", '[{"id": 1},\n {"id" 2}]', r"a\.json, line 2, column 8: this is not valid JSON"),
        ("a.json", '{"id": 1}\n{"id": 2}', r"not valid JSON: Extra data; a file of one record a line ends in \.jsonl"),
        ("a.json", '{"id": 1}', r"a\.json must hold a list of records, got a dict"),
        ("a.json", "[]", r"a\.json holds no records"),
        ("a.json", "", r"a\.json, line 1"),
        ("a.jsonl", '{"id": 1}\n\n{"id": 2', r"a\.jsonl, line 3, column"),
        ("a.jsonl", "\n\n", r"a\.jsonl holds no records"),
        ("a.json", b'["\xff"]', r"a\.json, byte 2: this is not UTF-8"),
        ("a.jsonl", b'{}\n"\xff"', r"a\.jsonl, line 2: this is not UTF-8"),
        ("a.csv", "id", r"a\.csv must be a \.json, \.jsonl or \.yaml file"),
        ("a.yaml", "datasets: [", r"a\.yaml is not valid YAML.*line 1"),
        ("a.yaml", "- a", r"a\.yaml must hold a list of datasets"),
        ("a.yaml", "datasets: {}", r"a\.yaml must hold a list of datasets"),
        ("a.yaml", "datasets: []", r"a\.yaml must hold a list of datasets"),
        ("a.yaml", "datasets: [{json_path: a.json}]\nseeds: 1", r"unknown setting 'seeds'; did you mean 'datasets'"),
        ("a.yaml", "datasets: [a.json]", r"a\.yaml, dataset 1: it must be a mapping with a json_path"),
        ("a.yaml", "datasets: [{name: a}]", "dataset 1: it must be a mapping with a json_path"),
        (
            "a.yaml",
            "datasets: [{json_path: a.json}, {json_path: b.json, sampling_stratgy: all}]",
            r"dataset 2: unknown setting 'sampling_stratgy'; did you mean 'sampling_strategy'",
        ),
        ("a.yaml", "datasets: [{json_path: 3}]", "dataset 1: json_path must be a text, got 3"),
        ("a.yaml", "datasets: [{json_path: a.json, sampling_strategy: few}]", "dataset 1: sampling_strategy 'few'"),
        ("a.yaml", "datasets: [{json_path: a.json, name: a/b}]", "dataset 1: the name of a dataset"),
    ],
)
def test_broken_files_are_refused_with_the_place(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        read_mixture(path)


@pytest.mark.parametrize("name", ["gone.json", "gone.jsonl", "gone.yaml"])
def test_missing_files_are_named(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=name):
        read_mixture(tmp_path / name)


def test_a_missing_image_folder_is_named(tmp_path):
    path = write_json(tmp_path / "a.json", [record()])
    with pytest.raises(FileNotFoundError, match="pictures of a does not exist"):
        read_mixture(path, image_folder=tmp_path / "pictures")


def test_two_datasets_of_one_name_are_refused(tmp_path):
    write_json(tmp_path / "a.json", [record()])
    entry = {"json_path": "a.json", "name": "twin"}
    with pytest.raises(ValueError, match="two datasets of the mixture are named 'twin'"):
        read_mixture(write_mixture(tmp_path / "mix.yaml", entry, entry))


def test_sources_can_be_given_without_a_file(tmp_path):
    (source,) = read_sources(write_json(tmp_path / "a.json", [record()]))
    assert [read.id for read in Mixture([source])] == ["a/r"]
