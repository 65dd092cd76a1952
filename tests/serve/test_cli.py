"""The command line on sound input: what is printed, what is written, and what it costs."""

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.conversation import conv_templates
from llava.image_io import load_image
from llava.inference.decoding import DECODING
from llava.inference.session import Session
from llava.inference.words import one_line
from llava.mm_utils import process_images, tokenizer_image_token
from llava.model.builder import load_pretrained_model
from llava.serve import cli, info, options, training_options
from llava.serve.cli import main
from shirg.config import ShirgXConfig
from tests.cli_helpers import QUICK_SHIRG_X, Call, edit_config, quick_checkpoint, write_page
from tests.model.test_image_io_pdf import write_pdf
from tests.model.test_parity import block_image

QUESTIONS = ["What is the total?", "Who signed?", "When was that?"]


def generate(checkpoint: Path, page: Path, question: str, **decoding: Any) -> list[int]:
    """Answer ids of LaViDa's own way: prompt, views, ``model.generate``."""
    tokenizer, model, processor, _ = load_pretrained_model(checkpoint, device_map="cpu")
    conversation = conv_templates["llada"].copy()
    conversation.append_message("user", f"{DEFAULT_IMAGE_TOKEN}\n{question}")
    conversation.append_message("assistant", None)
    ids = tokenizer_image_token(conversation.get_prompt(), tokenizer, return_tensors="pt")
    image = load_image(page)
    views = process_images([image], processor, model.config)
    return model.generate(ids, views, [image.size], **decoding)[0].tolist()


class TestAsk:
    def test_in_a_pipe_answers_are_lines_in_order(self, call: Call, page: Path, session: Session) -> None:
        out, err = call("ask", page, *QUESTIONS)
        answers = session.ask(load_image(page), QUESTIONS)
        assert out.splitlines() == [one_line(answer.text) for answer in answers]
        assert err == ""

    def test_json_tells_all_and_nothing_else_is_on_stdout(self, call: Call, page: Path, quick: Path) -> None:
        out, _ = call("ask", page, *QUESTIONS, "--json", "--budget", "48", "--verbose")
        records = [json.loads(line) for line in out.splitlines()]
        assert [record["question"] for record in records] == QUESTIONS
        for record in records:
            assert set(record) == {
                *("question", "answer", "image", "page", "model", "k"),
                *("scaffold_tokens", "image_tokens", "confidence", "steps", "seconds", "heatmap", "boxes", "film"),
                *("forwards", "tokens_per_forward", "doubt", "blank", "notes"),
            }
            assert (record["image"], record["model"]) == (str(page), str(quick))
            assert (record["k"], record["scaffold_tokens"], record["image_tokens"]) == (48, 9, 57)
            assert 1 <= record["forwards"] == record["steps"] <= 32
            assert 0 < record["tokens_per_forward"] <= 32
            assert set(record["seconds"]) == {"encode", "select", "denoise"}
            assert min(record["seconds"].values()) >= 0
            assert (record["heatmap"], record["boxes"], record["film"]) == (None, None, None)

    @pytest.mark.parametrize("way", [[], ["--no-shirg"], ["--similarity", "attention"]], ids=" ".join)
    def test_the_page_is_encoded_once(self, call: Call, page: Path, tower_calls: list[str], way: list[str]) -> None:
        call("ask", page, *QUESTIONS, "--tokens", "2", *way)
        expected = ["forward"] if "--no-shirg" in way else ["extract_shirg_x_tokens", "forward"]
        assert tower_calls == expected

    def test_without_shirg_x_it_is_lavida(self, call: Call, page: Path, quick: Path, session: Session) -> None:
        words = ("--no-shirg", "--json", "--no-stop", "--tokens", "8", "--decoding", "one-per-step")
        out, _ = call("ask", page, QUESTIONS[0], *words)
        expected = generate(quick, page, QUESTIONS[0], max_new_tokens=8, schedule="shift", prefix_lm=True)
        record = json.loads(out)
        assert record["answer"] == session.decode(expected).strip()
        assert (record["k"], record["scaffold_tokens"]) == (None, None)
        assert record["image_tokens"] > 196

    def test_denoising_options_reach_the_model(self, page: Path, quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = []

        def answer(self: Session, page: Any, question: str, **settings: Any) -> Any:
            seen.append(settings)
            raise KeyboardInterrupt

        monkeypatch.setattr(Session, "answer", answer)
        typed = (
            "--tokens 24 --block-length 8 --steps 6 --schedule shift --shift 0.5 --temperature 0.25 --seed 9 "
            "--remasking entropy --no-stop --no-cache --json --decoding one-per-step"
        )
        assert main(["ask", str(page), "why?", "--model", str(quick), *typed.split()]) == 130
        decoding = seen[0]["decoding"]
        assert seen[0]["seed"] == 9
        assert (decoding.max_new_tokens, decoding.block_length, decoding.steps) == (24, 8, 6)
        assert (decoding.schedule, decoding.schedule_kwargs) == ("shift", {"shift": 0.5})
        assert (decoding.temperature, decoding.remasking) == (0.25, "entropy")
        assert (decoding.stop_at_end_of_turn, decoding.prefix_lm) == (False, False)

    def test_defaults_are_those_of_a_session(self, page: Path) -> None:
        from llava.serve.requests import decoding_of

        args = options.build_parser().parse_args(["ask", str(page), "why?"])
        assert decoding_of(args, stop=not args.no_stop) == DECODING

    def test_fewer_steps_are_taken_and_counted(self, call: Call, page: Path) -> None:
        out, _ = call("ask", page, "why?", "--json", "--no-stop", "--steps", "5", "--decoding", "one-per-step")
        assert (json.loads(out)["steps"], json.loads(out)["forwards"]) == (5, 5)

    def test_drafted_steps_give_the_same_answer_in_fewer_forwards(self, call: Call, page: Path) -> None:
        slow, fast = (
            json.loads(call("ask", page, "why?", "--json", "--no-stop", "--decoding", way)[0])
            for way in ("one-per-step", "exact")
        )
        assert (fast["answer"], fast["confidence"], fast["steps"]) == (slow["answer"], slow["confidence"], 32)
        assert fast["forwards"] < slow["forwards"] == 32
        assert fast["tokens_per_forward"] > slow["tokens_per_forward"]

    def test_one_heat_map_keeps_its_name(self, call: Call, page: Path, tmp_path: Path) -> None:
        call("ask", page, "Is $x^ a price?", "--heatmap", tmp_path / "kept.png", "--tokens", "2")
        with Image.open(tmp_path / "kept.png") as picture:
            assert picture.format == "PNG"
            assert picture.width > 500
        assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.png", "page.png"]

    def test_several_heat_maps_are_numbered(self, call: Call, page: Path, tmp_path: Path) -> None:
        out, _ = call("ask", page, *QUESTIONS, "--heatmap", tmp_path / "kept.png", "--tokens", "2", "--json")
        names = [str(tmp_path / f"kept-{number}.png") for number in (1, 2, 3)]
        assert [json.loads(line)["heatmap"] for line in out.splitlines()] == names
        assert all(Path(name).stat().st_size > 1000 for name in names)

    def test_the_first_page_is_read_with_a_note(
        self, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        document = write_pdf(tmp_path / "three.pdf", [(90, 70), (50, 70), (30, 70)])
        sizes = []
        encode = Session.encode
        monkeypatch.setattr(Session, "encode", lambda self, page: sizes.append(page.image.size) or encode(self, page))
        _, note = call("ask", document, "why?", "--tokens", "2")
        _, silent = call("ask", document, "why?", "--tokens", "2", "--page", "2")
        blank = "nothing is visible; the page is blank, so that answers mean nothing"
        assert note.splitlines() == [
            f"lavida: {document} has 3 pages; this reads the first, --page N another",
            f"lavida: {document}, page 1: {blank}",
        ]
        assert silent == f"lavida: {document}, page 2: {blank}\n"
        assert [width > height for width, height in sizes] == [True, False]

    def test_a_page_of_a_tiff_is_read(self, call: Call, tmp_path: Path) -> None:
        path = tmp_path / "two.tif"
        pages = [write_page(tmp_path / f"{size[0]}.png", size) for size in ((170, 130), (130, 170))]
        first, second = (Image.open(page) for page in pages)
        first.save(path, save_all=True, append_images=[second])
        told = [
            json.loads(call("ask", path, "why?", "--tokens", "2", "--json", *words)[0])
            for words in ([], ["--page", "2"])
        ]
        assert told[0]["notes"] == [f"{path} has 2 pages; this reads the first, --page N another"]
        assert told[1]["notes"] == []
        assert not told[0]["blank"]

    @pytest.mark.parametrize("command", ["ask", "fill", "select"])
    def test_a_blank_page_is_said_to_be(self, call: Call, tmp_path: Path, command: str) -> None:
        path = tmp_path / "a.png"
        Image.new("LA", (90, 70), (0, 0)).save(path)
        note = f"{path}: nothing is visible; the page is blank, so that answers mean nothing"
        text = "It is [2]." if command == "fill" else "why?"
        out, err = call(command, path, text, "--json", *([] if command == "select" else ["--tokens", "12"]))
        told = json.loads(out)
        assert (told["blank"], told["notes"]) == (True, [note])
        assert err == f"lavida: {note}\n"

    def test_an_untrained_model_says_so(self, page: Path, quick: Path, tmp_path: Path, capsys: Any) -> None:
        copy = quick_checkpoint(quick, tmp_path / "copy")
        edit_config(copy, untrained=True)
        assert main(["ask", str(page), "why?", "--tokens", "2", "--model", str(copy)]) == 0
        err = capsys.readouterr().err
        assert err == f"lavida: the model {copy} is untrained, so its answers mean nothing\n"

    def test_verbose_tells_the_stages(self, call: Call, page: Path) -> None:
        _, err = call("ask", page, "why?", "--tokens", "2", "--verbose")
        assert "similarity: auto means projected" in err
        assert "K = 64 + 9 scaffold tokens; 2 forwards, 1.0 tokens each; encode" in err

    def test_a_file_of_settings_comes_before_the_checkpoint_s(self, call: Call, page: Path, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text("{grid: 8, scaffold_factor: 2, budgets: [11, 13], budget: 11}")
        first, _ = call("ask", page, "why?", "--json", "--tokens", "2", "--config", tmp_path / "a.yaml")
        second, _ = call(
            "ask", page, "why?", "--json", "--tokens", "2", "--config", tmp_path / "a.yaml", "--budget", "13"
        )
        for out, kept in ((first, 11), (second, 13)):
            assert (json.loads(out)["k"], json.loads(out)["scaffold_tokens"]) == (kept, 16)


class TestSession:
    def test_shirg_x_answers_are_those_of_the_patched_model(self, session: Session, page: Path) -> None:
        image = load_image(page)
        answer = session.ask(image, QUESTIONS[:1])[0]
        ids, question = session.prompt(QUESTIONS[0])
        views = process_images([image], session.image_processor, session.model.config)
        tokens = session.model.generate(ids, views, [image.size], decoding=DECODING)
        assert answer.tokens == tuple(tokens[0].tolist())
        assert question.text == QUESTIONS[0]

    def test_a_question_does_not_depend_on_those_before(self, session: Session, page: Path) -> None:
        decoding = replace(DECODING, temperature=1.0, max_new_tokens=8)
        image = load_image(page)
        together = session.ask(image, QUESTIONS, decoding=decoding, seed=5)
        alone = session.ask(image, QUESTIONS[2:], decoding=decoding, seed=5)
        other = session.ask(image, QUESTIONS[2:], decoding=decoding, seed=6)
        assert together[2].tokens == alone[0].tokens != other[0].tokens

    def test_attention_selects_once_and_questions_select_anew(self, quick: Path, session: Session, page: Path) -> None:
        image = load_image(page)
        fixed = Session.load(quick, shirg=ShirgXConfig(**QUICK_SHIRG_X, similarity="attention"), device="cpu")
        once = fixed.encode(image)
        assert fixed.select(once, QUESTIONS[0]) is fixed.select(once, QUESTIONS[1]) is once.prefix
        anew = session.encode(image)
        first, second = (session.select(anew, question).tokens for question in QUESTIONS[:2])
        assert not torch.equal(first, second)

    def test_encoding_leaves_no_gradient_behind(self, session: Session, page: Path) -> None:
        encoded = session.encode(load_image(page)).encoded
        assert encoded is not None
        assert not encoded.dual.detail.requires_grad

    def test_an_answer_ends_at_its_end_of_turn(self, session: Session) -> None:
        words = session.tokenizer("yes").input_ids
        assert session.decode([*words, session.model.config.eot_token_id, *words]) == "yes"
        assert session.decode([*words, session.model.config.eos_token_id]) == "yes"


class TestSelect:
    def test_counts_agree_with_each_other(self, call: Call, page: Path, tmp_path: Path) -> None:
        out, _ = call("select", page, "why?", "--json", "--budget", "32", "--heatmap", tmp_path / "kept.png")
        record = json.loads(out)
        assert (record["candidates"], record["kept"], record["scaffold"], record["budget"]) == (144, 32, 9, 32)
        assert record["budgets"] == [32, 48, 64]
        assert 0 <= record["anchors"] <= 4
        assert record["kept_patches"] == 32 + record["merged"]
        assert record["kept_patches"] + record["dropped"] == 144
        assert set(record["spread"]) == {"similarity", "neighbor", "center"}
        assert record["similarity"] == "projected"
        assert (tmp_path / "kept.png").exists()

    def test_the_share_of_blank_tokens_is_told_and_what_survives_of_named_evidence(
        self, call: Call, tmp_path: Path
    ) -> None:
        """A page that is blank but for its left upper quarter, which is all kept and fills no budget."""
        page = Image.new("RGB", (168, 168), "white")
        page.paste(block_image(84, 84, 1), (0, 0))
        page.save(tmp_path / "page.png")
        words = ("select", tmp_path / "page.png", "why?", "--budget", "48")
        record = json.loads(call(*words, "--json", "--evidence", "0,0,0.5,0.5", "--evidence", "0.9,0.9,1,1")[0])
        assert 0.2 < record["blank_share"] < 0.5
        assert record["evidence"]["survive"] == record["evidence"]["patches"] > 10
        assert record["evidence"]["recall"] == 1
        assert json.loads(call(*words, "--json")[0])["evidence"] is None
        (tmp_path / "pages.json").write_text(
            json.dumps([{"image": "page.png", "question": "why?", "answer": "so", "box": [0, 0, 84, 84]}])
        )
        known = json.loads(call(*words, "--json")[0])
        assert known["evidence"] == record["evidence"]
        halves = {"box": [0, 0, 42, 84], "evidence": [[42, 0, 84, 84]]}
        (tmp_path / "pages.json").write_text(
            json.dumps([{"image": "page.png", "question": "why?", "answer": "so", **halves}])
        )
        assert json.loads(call(*words, "--json")[0])["evidence"] == record["evidence"]
        out, _ = call(*words)
        assert "of the kept tokens show nothing but paper" in out
        assert f"{known['evidence']['survive']} of its {known['evidence']['patches']} inked patches survive" in out

    def test_a_question_s_budget_is_one_on_offer(self, call: Call, page: Path) -> None:
        record = json.loads(call("select", page, "why?", "--json", "--budget", "question")[0])
        assert record["budget"] == "question"
        assert record["budgets"][:3] == [32, 64, 128]
        assert record["kept"] in (32, 64, 128)

    def test_without_merging_every_token_is_one_patch(self, call: Call, page: Path, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text("{grid: 12, budgets: [32], merge: false, scaffold: false, center_weight: 0}")
        record = json.loads(call("select", page, "why?", "--json", "--config", tmp_path / "a.yaml")[0])
        assert (record["merged"], record["kept_patches"], record["scaffold"]) == (0, 32, 0)
        assert record["spread"]["center"] == 0
        assert record["spread"]["similarity"] > 0

    def test_people_get_a_table(self, call: Call, page: Path) -> None:
        out, _ = call("select", page, "Is [/red] a tag?")
        assert "Is [/red] a tag?" in out
        assert "144 patches" in out
        assert "auto of 32, 48, 64" in out

    def test_no_answer_is_denoised(self, call: Call, page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Session, "answer", None)
        call("select", page, "why?")


class TestMain:
    def run(self, monkeypatch: pytest.MonkeyPatch, error: BaseException, *words: str) -> int:
        def fail(args: argparse.Namespace) -> None:
            raise error

        monkeypatch.setattr(info, "run", fail)
        return main(["info", *words])

    def test_unexpected_errors_are_one_line(self, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        assert self.run(monkeypatch, KeyError("total\nsum")) == 1
        err = capsys.readouterr().err
        assert err == "lavida: error: unexpected KeyError: 'total\\nsum'; run again with --debug to see where\n"

    def test_debug_shows_where(self, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        assert self.run(monkeypatch, KeyError("total"), "--debug") == 1
        err = capsys.readouterr().err
        assert "Traceback" in err
        assert err.endswith("\nlavida: error: unexpected KeyError: 'total'\n")

    @pytest.mark.parametrize(
        "error",
        [
            torch.OutOfMemoryError("CUDA out of memory. Tried"),
            MemoryError(),
            RuntimeError("you can't allocate memory: 9"),
        ],
    )
    def test_out_of_memory_names_the_mends(
        self, error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: Any
    ) -> None:
        assert self.run(monkeypatch, error) == 2
        err = capsys.readouterr().err
        assert err.startswith("lavida: error: out of memory")
        assert "--budget" in err
        assert "--dtype" in err
        assert err.count("\n") == 1

    def test_an_error_without_words_is_named(self, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        assert self.run(monkeypatch, FileNotFoundError()) == 2
        assert capsys.readouterr().err == "lavida: error: FileNotFoundError\n"

    def test_interruption_is_quiet(self, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        assert self.run(monkeypatch, KeyboardInterrupt()) == 130
        assert capsys.readouterr() == ("", "")

    def test_logging_is_left_as_it_was(self, call: Call, quick: Path) -> None:
        loggers = [cli.logging.getLogger(name) for name in ("llava", "shirg")]
        before = [(logger.level, list(logger.handlers)) for logger in loggers]
        call("info", quick, "--debug")
        assert [(logger.level, list(logger.handlers)) for logger in loggers] == before

    def test_without_a_command_it_helps(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([]) == 0
        assert "lavida ask invoice.png" in capsys.readouterr().out

    @pytest.mark.parametrize(
        "command", ["ask", "fill", "select", "info", "eval", "demo", "train", "data", "merge-adapter"]
    )
    def test_every_command_has_examples(self, command: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
        assert f"examples:\n  lavida {command}" in capsys.readouterr().out

    def test_examples_can_be_typed(self) -> None:
        import shlex

        parser = options.build_parser()
        words = {**vars(options), **vars(training_options)}
        texts = [value for name, value in words.items() if name.endswith("EXAMPLES")]
        lines = [line.strip() for text in texts for line in text.splitlines() if line.startswith("  lavida ")]
        assert len(lines) >= 15
        for line in lines:
            assert parser.parse_args(shlex.split(line)[1:]).command == line.split()[1]


def installed(*words: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lavida")), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **settings)


def test_the_installed_command_answers_and_helps_quickly() -> None:
    done = installed("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("lavida 0.")
    done = installed("ask", "no_such.png", "why?", "--tokens", "many")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("lavida: error: ")
