"""``--adapter`` on the command line and in sessions."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from llava.image_io import load_image
from llava.inference.session import Session
from llava.model.builder import load_pretrained_model
from llava.serve.cli import main
from llava.tuning.adapter import SETTINGS_FILE, WEIGHTS_FILE, load_adapter, save_adapter
from llava.tuning.config import TrainableConfig
from scripts.merge_adapter import main as merge
from shirg.config import ShirgXConfig
from tests.adapter_helpers import edit_settings, train
from tests.cli_helpers import QUICK_SHIRG_X, Call

QUESTION = "What is the total?"
TRAINED = ShirgXConfig(**QUICK_SHIRG_X, budget=32, similarity="learned", center_weight=0.3)


@pytest.fixture(scope="module")
def adapter(quick: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = TrainableConfig(scope="shirg_x_expanded", rank=3)
    model = load_pretrained_model(quick, device_map="cpu")[1]
    train(model, config, TRAINED)
    directory = tmp_path_factory.mktemp("adapters") / "quick"
    save_adapter(model, directory, config)
    return directory


@pytest.fixture(scope="module")
def trained(quick: Path, adapter: Path) -> Session:
    """A session whose model has the adapter as training left it, unmerged."""
    tokenizer, model, processor, _ = load_pretrained_model(quick, device_map="cpu")
    handle = load_adapter(model, adapter, tokenizer=tokenizer)
    return Session(tokenizer=tokenizer, model=model, image_processor=processor, handle=handle)


class TestAsk:
    def test_the_answer_is_the_trained_model_s_without_peft(
        self, call: Call, page: Path, adapter: Path, trained: Session, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "peft", None)
        record = json.loads(call("ask", page, QUESTION, "--adapter", adapter, "--json")[0])
        answer = trained.ask(load_image(page), [QUESTION])[0]
        assert record["answer"] == answer.text
        assert record["answer"] != session.ask(load_image(page), [QUESTION])[0].text
        assert record["k"] == 32
        assert record["adapter"] == str(adapter)

    def test_options_come_before_the_adapter_s_settings(self, call: Call, page: Path, adapter: Path) -> None:
        words = ("--adapter", adapter, "--budget", "48", "--similarity", "projected", "--tokens", "2", "--json")
        assert json.loads(call("ask", page, QUESTION, *words)[0])["k"] == 48

    def test_fill_takes_it_too(self, call: Call, page: Path, adapter: Path) -> None:
        out = json.loads(call("fill", page, "Total: [3]", "--adapter", adapter, "--json")[0])
        assert (out["k"], out["adapter"]) == (32, str(adapter))
        assert "adapter" not in json.loads(call("fill", page, "Total: [3]", "--json")[0])


def test_select_shows_the_adapter_s_choice(call: Call, page: Path, adapter: Path) -> None:
    chosen = json.loads(call("select", page, QUESTION, "--adapter", adapter, "--json")[0])
    assert (chosen["similarity"], chosen["kept"], chosen["adapter"]) == ("learned", 32, str(adapter))
    stock = json.loads(call("select", page, QUESTION, "--budget", "32", "--json")[0])
    assert chosen["spread"] != stock["spread"]


def test_demo_passes_it_to_the_session(
    call: Call, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    original = Session.open.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(Session, "open", classmethod(lambda cls, c, **k: loaded.append(c) or original(cls, c, **k)))
    monkeypatch.setattr("llava.serve.demo.read_sheets", lambda pages, limit: [])
    call("demo", "--adapter", adapter, "--out", tmp_path / "demo")
    assert [checkpoint.names["adapter"] for checkpoint in loaded] == [str(adapter)]
    assert loaded[0].shirg == TRAINED


class TestInfo:
    def test_the_adapter_is_described_from_headers(self, call: Call, quick: Path, adapter: Path) -> None:
        facts = json.loads(call("info", quick, "--adapter", adapter, "--json")[0])
        stored = [tensor for file in adapter.glob("*.safetensors") for tensor in load_file(file).values()]
        assert facts["adapter"] == {
            "directory": str(adapter),
            "base": str(quick),
            "scope": "shirg_x_expanded",
            "parameters": sum(tensor.numel() for tensor in stored),
            "bytes": 4 * sum(tensor.numel() for tensor in stored),
        }
        assert facts["fresh_shirg_x_parameters"] == 0
        assert json.loads(call("info", quick, "--json")[0])["adapter"] is None
        out, _ = call("info", quick, "--adapter", adapter)
        assert "shirg_x_expanded, trained on" in " ".join(out.split())

    def test_the_wrong_base_is_refused(self, adapter: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["info", "--adapter", str(adapter)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert "other names or sizes" in err


class TestSession:
    def test_without_settings_it_runs_as_it_was_trained(self, quick: Path, adapter: Path) -> None:
        loaded = Session.load(quick, adapter=adapter, device="cpu")
        assert loaded.handle is not None
        assert loaded.handle.config == TRAINED

    def test_stock_encoding_is_refused_before_anything_is_loaded(
        self, quick: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("llava.model.builder.load_pretrained_model", None)
        with pytest.raises(ValueError, match="was trained with SHIRG-X"):
            Session.load(quick, adapter=adapter, shirg=ShirgXConfig(mode="stock"), device="cpu")

    def test_an_adapter_without_shirg_x_leaves_the_choice(self, quick: Path, tmp_path: Path) -> None:
        config = TrainableConfig(scope="projector")
        model = load_pretrained_model(quick, device_map="cpu")[1]
        train(model, config, None)
        save_adapter(model, tmp_path, config)
        patched = Session.load(quick, adapter=tmp_path, device="cpu")
        plain = Session.load(quick, adapter=tmp_path, shirg=ShirgXConfig(mode="stock"), device="cpu")
        assert patched.handle is not None
        assert patched.handle.config.budgets == tuple(QUICK_SHIRG_X["budgets"])
        assert plain.handle is None
        expected = model.model.mm_projector[2].weight
        for loaded in (patched, plain):
            assert torch.equal(loaded.model.model.mm_projector[2].weight, expected)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--no-shirg"], "--no-shirg"),
        (["--adapter", "nowhere"], "there is no adapter directory nowhere"),
        (["--adapter", __file__], "is a file"),
        (["--adapter", str(Path(__file__).parent)], f"holds no {SETTINGS_FILE}"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_does_not_fit_ends_in_one_line(
    quick: Path, adapter: Path, page: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    command = ["ask", str(page), QUESTION, "--model", str(quick), "--adapter", str(adapter), *words]
    assert main(command) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.startswith("lavida: error: ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("command", ["ask", "fill", "select", "demo"])
@pytest.mark.parametrize("fault", ["base", "version", "tensor"])
def test_a_wrong_adapter_ends_every_command_with_2(
    quick: Path,
    adapter: Path,
    page: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    fault: str,
) -> None:
    copy = shutil.copytree(adapter, tmp_path / "copy")
    if fault == "base":
        edit_settings(copy, lambda values: values["base"].update(values="0" * 64))
    elif fault == "version":
        edit_settings(copy, lambda values: values.update(format_version=3))
    else:
        (copy / WEIGHTS_FILE).write_bytes(b"pickle")
    monkeypatch.chdir(tmp_path)
    words = {"ask": [str(page), QUESTION], "fill": [str(page), "Total: [3]"], "select": [str(page), QUESTION]}
    assert main([command, *words.get(command, []), "--model", str(quick), "--adapter", str(copy)]) == 2
    expected = {"base": "other weights", "version": "format version 3", "tensor": "not a valid safetensors file"}
    assert expected[fault] in capsys.readouterr().err


class TestMergeScript:
    def test_the_merged_checkpoint_answers_as_the_adapter_does(
        self,
        page: Path,
        quick: Path,
        adapter: Path,
        tmp_path: Path,
        trained: Session,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        out = tmp_path / "merged"
        assert merge([str(adapter), "--out", str(out), "--dtype", "float32", "--about", "Reads nothing."]) == 0
        assert capsys.readouterr().out.strip() == str(out)
        assert not list(out.glob("*adapter*"))
        merged = Session.load(out, device="cpu")
        assert merged.model.config.about == "Reads nothing."
        image = load_image(page)
        assert merged.ask(image, [QUESTION])[0].tokens == trained.ask(image, [QUESTION])[0].tokens

    def test_without_an_adapter_only_the_precision_changes(self, quick: Path, tmp_path: Path) -> None:
        assert merge(["--model", str(quick), "--out", str(tmp_path / "half"), "--dtype", "bfloat16"]) == 0
        before, after = (
            load_pretrained_model(path, device_map="cpu")[1].state_dict() for path in (quick, tmp_path / "half")
        )
        assert before.keys() == after.keys()
        assert all(torch.equal(after[name], before[name].bfloat16()) for name in before)

    @pytest.mark.parametrize("words", [(), ("nowhere",), ("--model", "nowhere/at-all")])
    def test_mistakes_end_in_one_line(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
    ) -> None:
        assert merge([*words, "--out", str(tmp_path / "none")]) == 2
        assert capsys.readouterr().err.count("\n") == 1
        assert not (tmp_path / "none").exists()
