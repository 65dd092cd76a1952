"""The command line's tables, pictures and files: info, demo, the display and what is written."""

import argparse
import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from llava.image_io import DEFAULT_LIMITS
from llava.inference.checkpoint import read_checkpoint_config
from llava.inference.session import Session
from llava.inference.words import one_line, printable
from llava.mm_utils import process_images
from llava.model.builder import load_pretrained_model
from llava.model.language_model.diffusion.progress import DenoisingStep, Progress
from llava.serve import demo, facts, files, gallery
from llava.serve.display import AnswerDisplay
from tests.cli_helpers import Call, edit_config, quick_checkpoint, write_page
from tests.model.test_image_io_pdf import write_pdf


class TestInfo:
    def test_facts_are_those_of_the_loaded_model(self, call: Call, quick: Path, session: Session) -> None:
        told = json.loads(call("info", quick, "--json")[0])
        _, model, _, context = load_pretrained_model(quick, device_map="cpu")
        assert told["total_parameters"] == sum(told["parameters"].values()) == model.num_parameters()
        assert told["total_bytes"] == 4 * model.num_parameters()
        assert told["dtypes"] == {"F32": model.num_parameters()}
        assert told["parameters"]["projector"] == sum(p.numel() for p in model.model.mm_projector.parameters())
        assert told["parameters"]["vision tower"] == sum(p.numel() for p in model.model.vision_tower.parameters())
        assert told["parameters"]["newline token"] == 64
        assert told["parameters"]["embeddings"] == told["parameters"]["output head"] == 512 * 64
        assert told["fresh_shirg_x_parameters"] == sum(p.numel() for p in session.model.shirg_x.parameters())
        assert told["language"]["context"] == context
        assert told["special_ids"] == {name: getattr(model.config, name) for name in facts.SPECIAL_IDS}
        assert told["image_tokens"]["shirg_x"] == {"32": 41, "48": 57, "64": 73}

    def test_stock_counts_are_what_encoding_gives(self, call: Call, quick: Path) -> None:
        told = json.loads(call("info", quick, "--json")[0])
        _, model, processor, _ = load_pretrained_model(quick, device_map="cpu")
        for name, size in facts.SIZES.items():
            views = process_images([Image.new("RGB", size)], processor, model.config)
            assert told["image_tokens"][name] == len(model.encode_images(views, [size])[0])
        assert (told["image_tokens"]["landscape"], told["image_tokens"]["square"]) == (834, 1008)

    @pytest.mark.parametrize(
        ("merge", "aspect", "pool"),
        [
            ("flat", "anyres", "bilinear"),
            ("spatial_unpad", "pad", "bilinear"),
            ("flat", "pad", "max"),
            ("spatial_unpad", "anyres", "average"),
        ],
    )
    def test_stock_counts_of_other_layouts(
        self, call: Call, quick: Path, tmp_path: Path, merge: str, aspect: str, pool: str
    ) -> None:
        copy = quick_checkpoint(quick, tmp_path / "copy")
        edit_config(copy, mm_patch_merge_type=merge, image_aspect_ratio=aspect, mm_spatial_pool_mode=pool)
        config = read_checkpoint_config(copy)
        with torch.device("meta"):
            model = info_model(config)
        processor = model.get_vision_tower().image_processor
        views = process_images([Image.new("RGB", (640, 480))], processor, config)
        expected = len(model.encode_images([view.to("meta") for view in views], [(640, 480)])[0])
        assert json.loads(call("info", copy, "--json")[0])["image_tokens"]["landscape"] == expected

    def test_saved_shirg_x_weights_are_counted(self, call: Call, session: Session, tmp_path: Path) -> None:
        session.model.save_pretrained(tmp_path / "saved")
        session.tokenizer.save_pretrained(tmp_path / "saved")
        told = json.loads(call("info", tmp_path / "saved", "--json")[0])
        assert told["parameters"]["SHIRG-X"] == sum(p.numel() for p in session.model.shirg_x.parameters())
        assert told["fresh_shirg_x_parameters"] == 0

    def test_weights_are_not_read(self, call: Call, quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("llava.model.builder.load_pretrained_model", None)
        out, _ = call("info", quick)
        assert "vision tower" in out
        assert "SHIRG-X, K = 48" in out
        assert "1.0 MB" in out

    def test_of_a_hub_repository_only_headers_are_fetched(
        self, call: Call, quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fetched = []

        def fetch(name: str, *, allow_patterns: list[str], **_: Any) -> str:
            fetched.append((name, allow_patterns))
            return str(partial)

        def headers(name: str, *, revision: str | None) -> Any:
            tensors = {
                "model.mm_projector.0.weight": argparse.Namespace(dtype="BF16", shape=[3, 5]),
                "shirg_x.coordinates.coord_linear.weight": argparse.Namespace(dtype="F32", shape=[7]),
            }
            return argparse.Namespace(files_metadata={"a.safetensors": argparse.Namespace(tensors=tensors)})

        partial = quick_checkpoint(quick, tmp_path / "copy")
        for file in partial.glob("*.safetensors"):
            file.unlink()
        monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
        monkeypatch.setattr(facts, "get_safetensors_metadata", headers)
        told = json.loads(call("info", "somebody/lavida", "--json")[0])
        assert fetched == [("somebody/lavida", ["*.json"])]
        assert told["parameters"] == {"projector": 15, "SHIRG-X": 7}
        assert told["bytes"] == {"projector": 30, "SHIRG-X": 28}


def info_model(config: Any) -> Any:
    from llava.model.language_model.llava_llada import LlavaLladaForMaskedDiffusion

    return LlavaLladaForMaskedDiffusion(config)


class TestDemo:
    def test_questions_answers_pictures_and_an_index(
        self, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pages = tmp_path / "pages"
        pages.mkdir()
        write_page(pages / "photo.png")
        write_pdf(pages / "letter.pdf", [(90, 70), (70, 90)])
        entry = {"answer": "42 <b>", "box": [10, 20, 40, 30]}
        entries = [
            {"image": "photo.png", "question": "How many?", **entry},
            {"image": "photo.png", "question": "How many [/red] & blue?", **entry},
            {"image": "photo.png", "question": "left out", **entry},
            {"image": "letter.pdf", "page": 2, "question": "Who wrote?", **entry},
        ]
        (pages / "pages.json").write_text(json.dumps(entries))
        monkeypatch.setitem(demo.GALLERIES, "typed", pages)
        out, _ = call("demo", "--questions", "2", "--out", tmp_path / "out")
        assert "How many [/red] & blue?" in " ".join(out.replace("│", " ").split())
        assert "letter.pdf" in out
        assert "left out" not in out
        told = re.search(r"0 of 3 right, (\d+\.\d) forwards an answer; the heat maps are in (\S+)", out)
        assert told is not None
        assert 1 <= float(told[1]) <= 32
        assert told[2] == str(tmp_path / "out" / "index.html")
        written = sorted(path.name for path in (tmp_path / "out").iterdir())
        assert written == ["index.html", "letter_pdf-page2-1.png", "photo_png-1.png", "photo_png-2.png"]
        html = (tmp_path / "out" / "index.html").read_text()
        assert all(f'src="{name}"' in html for name in written[1:])
        assert "[/red] &amp; blue?" in html
        assert "42 &lt;b&gt;" in html
        assert "http" not in html

    @pytest.mark.parametrize("pages", demo.GALLERIES.values(), ids=demo.GALLERIES)
    def test_bundled_pages_hold_enough_questions(self, pages: Path) -> None:
        sheets = demo.read_sheets(pages, 2)
        assert sum(len(sheet.entries) for sheet in sheets) >= 6
        assert all((pages / sheet.file).is_file() for sheet in sheets)
        assert len({sheet.picture(1) for sheet in sheets}) == len(sheets)

    def test_boxes_become_centroid_and_extent(self) -> None:
        assert demo._box([10, 20, 40, 30], Image.new("RGB", (200, 50))) == (0.125, 0.5, 0.2, 0.15)

    def test_a_right_answer_is_marked(self) -> None:
        shown = gallery.Shown(
            page="p", question="q", answer="Heron  lake", expected="heron Lake", k=48, forwards=2, picture="a.png"
        )
        html = gallery.index_page([shown, replace(shown, answer="no")], model="m", untrained=True)
        assert "1 of 2 answers right" in html
        assert '<td class="right">Heron  lake</td>' in html
        assert "<td>no</td>" in html
        assert "untrained" in html
        assert html.count("<h2>") == 1


class TestDisplay:
    @pytest.fixture
    def watched(self, session: Session) -> AnswerDisplay:
        console = Console(file=io.StringIO(), force_terminal=True, width=60, color_system=None, legacy_windows=False)
        return AnswerDisplay(session.decode, mask_id=500, console=console)

    def test_masked_positions_are_blocks_among_the_words(self, watched: AnswerDisplay, session: Session) -> None:
        words = session.tokenizer("yes").input_ids
        known = len(words)
        drawn = watched.draw([500, 500, *words, *words, 500], [False] * (2 + known) + [True] * known + [False], 3, 7)
        assert drawn.plain == "▒▒yesyes▒  step 3 of 7"
        styles = [(drawn.plain[span.start : span.end], span.style) for span in drawn.spans]
        assert styles == [("▒▒", "dim"), ("yes", "bold"), ("▒", "dim"), ("  step 3 of 7", "dim")]
        assert drawn.spans[1].start == 5, "the newly settled word is the second"

    def test_a_terminal_sees_the_answer_form(self, watched: AnswerDisplay, session: Session) -> None:
        with watched.denoising() as on_step:
            assert on_step is not None
            progress = Progress.start(torch.tensor([[500, 500]]), mask_id=500)
            on_step(DenoisingStep(index=1, planned=2, progress=progress))
        watched.show_answer("forty-two", "2 steps")
        shown = watched.console.file.getvalue()
        assert shown.index("▒▒  step 1 of 2") < shown.index("forty-two") < shown.index("2 steps")

    def test_in_a_pipe_nothing_moves(self, session: Session, capsys: pytest.CaptureFixture[str]) -> None:
        display = AnswerDisplay(session.decode, mask_id=500)
        with display.denoising() as on_step:
            assert on_step is None
        display.show_question("why?")
        display.show_answer("two\nlines\x1b[2J", "2 steps")
        assert capsys.readouterr().out == "two lines�[2J\n"

    def test_a_stream_without_letters_for_it_gets_question_marks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        monkeypatch.setattr(sys, "stdout", narrow)
        AnswerDisplay(lambda tokens: "", mask_id=500).show_answer("café", "")
        assert narrow.buffer.getvalue() == b"caf?\n"

    @given(st.text())
    @settings(max_examples=60, deadline=None)
    def test_no_control_character_gets_through(self, text: str) -> None:
        shown = printable(text)
        assert len(shown) == len(text)
        assert all(char in "\n\t" or (char >= " " and not "\x7f" <= char < "\xa0") for char in shown)
        assert printable(shown) == shown
        assert "\n" not in one_line(text)


class TestFiles:
    def test_a_failed_picture_leaves_the_old_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        out = tmp_path / "a.png"
        out.write_text("old")

        def fail(self: Image.Image, file: Any, form: str) -> None:
            file.write(b"half")
            raise OSError("disk full")

        monkeypatch.setattr(Image.Image, "save", fail)
        with pytest.raises(OSError, match="disk full"):
            files.write_picture(Image.new("RGB", (3, 5)), out)
        assert out.read_text() == "old"
        assert list(tmp_path.iterdir()) == [out]

    def test_only_the_page_that_is_read_is_rendered(self, tmp_path: Path) -> None:
        long = write_pdf(tmp_path / "long.pdf", [(90, 70)] * 23)
        assert "has 23 pages" in files.load_page(str(long), None, limits=DEFAULT_LIMITS).notes[0]
        assert files.load_page(str(long), 23, limits=DEFAULT_LIMITS).notes == ()
