"""A model named to a harness, and conversations as harnesses give them."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llava.eval.harness.dialogs import prepare_messages
from llava.eval.harness.settings import HarnessSettings
from llava.inference.checkpoint import BUNDLED_MODEL
from llava.inference.decoding import find_decoding
from llava.inference.dialog import Turn, answer_dialogs, prepare_dialog
from llava.inference.session import Session
from llava.model.builder import load_pretrained_model
from llava.tuning.adapter import save_adapter
from llava.tuning.config import TrainableConfig
from shirg.config import ShirgXConfig
from tests.adapter_helpers import train
from tests.cli_helpers import QUICK_SHIRG_X


class TestModelArguments:
    def test_every_argument_has_its_place(self) -> None:
        settings = HarnessSettings.parse(
            "pretrained=some/model,revision=v1,adapter=runs/best,shirg=x.yaml,budget=512,mode=shirg_x,"
            "device=cuda:1,dtype=bfloat16,tokens=64,batch_size=8,seed=3"
        )
        assert settings == HarnessSettings(
            pretrained="some/model",
            revision="v1",
            adapter="runs/best",
            shirg="x.yaml",
            budget=512,
            mode="shirg_x",
            device="cuda:1",
            dtype="bfloat16",
            tokens=64,
            batch_size=8,
            seed=3,
        )

    def test_nothing_said_is_the_bundled_model_and_the_tasks_own_length(self) -> None:
        settings = HarnessSettings.parse("")
        assert (settings.pretrained, settings.tokens, settings.batch_size) == (str(BUNDLED_MODEL), None, 1)
        assert settings == HarnessSettings()

    def test_only_numbers_are_read_as_numbers(self) -> None:
        settings = HarnessSettings.parse("pretrained=007,adapter=1e5,revision=12,budget=auto, seed=4")
        assert (settings.pretrained, settings.adapter, settings.revision) == ("007", "1e5", "12")
        assert (settings.budget, settings.seed) == ("auto", 4)

    def test_a_value_may_hold_an_equals_sign(self) -> None:
        assert HarnessSettings.parse("adapter=runs/rank=16/best").adapter == "runs/rank=16/best"

    @pytest.mark.parametrize(("text", "expected"), [("", (6, "cpu")), ("batch_size=2,device=cuda", (2, "cuda"))])
    def test_options_count_where_the_text_is_silent(self, text: str, expected: tuple[int, str]) -> None:
        settings = HarnessSettings.parse(text, batch_size="6", device="cpu")
        assert (settings.batch_size, settings.device) == expected

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("pretained=x", "unknown setting 'pretained'; did you mean 'pretrained'"),
            ("budget", "name=value,name=value"),
            ("adapter=", "name=value,name=value"),
            ("tokens=0", "tokens must be a whole number of at least 1, got 0"),
            ("tokens=3.5", "tokens must be a whole number"),
            ("batch_size=auto", "batch_size must be a whole number of at least 1, got 'auto'"),
            ("batch_size=-2", "batch_size must be a whole number"),
            ("seed=1,seed=2", "seed is given twice"),
            (f"seed={2**63}", "seed must lie between 0 and"),
            ("mode=lavida", "mode must be one of shirg_x, stock"),
            ("mode=stock,budget=512", "budget belongs to SHIRG-X"),
            ("mode=stock,shirg=x.yaml", "shirg belongs to SHIRG-X"),
        ],
    )
    def test_what_is_wrong_is_named(self, text: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            HarnessSettings.parse(text)


class TestShirgX:
    def test_the_checkpoints_settings_with_a_budget(self, quick: Path) -> None:
        settings = HarnessSettings(pretrained=str(quick), budget=48)
        assert settings.checkpoint().shirg == ShirgXConfig(**QUICK_SHIRG_X, budget=48)
        assert HarnessSettings(pretrained=str(quick)).checkpoint().shirg.budget == "auto"

    def test_stock(self, quick: Path) -> None:
        assert HarnessSettings(pretrained=str(quick), mode="stock").checkpoint().shirg == ShirgXConfig(mode="stock")

    def test_a_file_and_what_is_said_beside_it(self, quick: Path, tmp_path: Path) -> None:
        file = tmp_path / "settings.yaml"
        file.write_text("grid: 12\nbudgets: [20, 30]\nmode: stock\n")
        settings = HarnessSettings(pretrained=str(quick), shirg=str(file))
        assert settings.checkpoint().shirg.mode == "stock"
        assert settings.replace(mode="shirg_x", budget=30).checkpoint().shirg == ShirgXConfig(
            grid=12, budgets=(20, 30), budget=30
        )
        with pytest.raises(ValueError, match="the settings say mode: stock"):
            settings.replace(budget=30).checkpoint()

    def test_a_budget_that_is_not_on_offer(self, quick: Path) -> None:
        with pytest.raises(ValueError, match="budget must be auto, question or one of 32, 48, 64, 128, got 512"):
            HarnessSettings(pretrained=str(quick), budget=512).checkpoint()

    def test_an_adapter_brings_its_settings_and_refuses_to_go_without(self, quick: Path, tmp_path: Path) -> None:
        model = load_pretrained_model(quick, device_map="cpu")[1]
        config = TrainableConfig(scope="shirg_x", rank=2, coord_rank=2)
        own = ShirgXConfig(**QUICK_SHIRG_X, similarity="learned", budget=32)
        train(model, config, own)
        save_adapter(model, tmp_path / "adapter", config)
        settings = HarnessSettings(pretrained=str(quick), adapter=str(tmp_path / "adapter"))
        assert settings.checkpoint().shirg == own
        assert settings.replace(budget=64).checkpoint().shirg == own.replace(budget=64)
        with pytest.raises(ValueError, match="was trained with SHIRG-X"):
            settings.replace(mode="stock").checkpoint()


BRIEF = find_decoding("fast", max_new_tokens=5)


@pytest.fixture(scope="module")
def page() -> Image.Image:
    return Image.effect_noise((70, 50), 90).convert("RGB")


def ids(session: Session, messages: Any) -> list[int]:
    return prepare_messages(session, messages, answer_tokens=5, where="here").ids.tolist()


class TestMessages:
    def test_a_question_about_an_image_is_what_ask_asks(self, session: Session, page: Image.Image) -> None:
        expected = session.ask(page, "what is it?", decoding=BRIEF)
        for parts in ([("image", page), ("text", " what is it? ")], [("text", "what is it?"), ("image", page)]):
            dialog = prepare_messages(session, [("user", parts)], answer_tokens=5, where="here")
            (reply,) = answer_dialogs(session, [dialog], decoding=BRIEF)
            assert (reply.text, reply.tokens) == (expected.text, expected.tokens)

    def test_turns_and_images_keep_their_places(self, session: Session, page: Image.Image, tmp_path: Path) -> None:
        page.save(tmp_path / "page.png")
        messages = [
            ("system", [("text", "Be brief.")]),
            ("user", [("image", page), ("text", "what is it?")]),
            ("assistant", [("text", "a page")]),
            ("user", [("text", "compare"), ("image", page), ("image", str(tmp_path / "page.png")), ("text", "why?")]),
        ]
        shown = session.encode(page)
        turns = [
            Turn(parts=(shown, "what is it?")),
            Turn(role="assistant", parts=("a page",)),
            Turn(parts=("compare", shown, shown, "why?")),
        ]
        assert ids(session, messages) == prepare_dialog(session, turns, system="Be brief.").ids.tolist()
        assert ids(session, messages[1:]) == prepare_dialog(session, turns).ids.tolist()

    @pytest.mark.parametrize(
        ("messages", "message"),
        [
            (
                [("user", [("video", "film.mp4"), ("text", "why?")])],
                "here shows video content, but lavida reads text",
            ),
            ([("user", [("audio", {}), ("text", "why?")])], "here shows audio content"),
            ([("user", [("text", "why?")]), ("system", [("text", "x")])], "here has a system turn behind its first"),
            (
                [("assistant", [("image", "x.png")]), ("user", [("text", "why?")])],
                "image in a turn of the assistant",
            ),
            ([("user", [("image", "x.png"), ("text", " ")])], "here: the last message holds no words"),
            (
                [("user", [("text", "why?")]), ("assistant", [("text", "so")])],
                "here: the last message must be",
            ),
            ([("user", [("text", "<|eot_id|>")])], "here: .*special token"),
            ([("user", [("text", "why " * 5000)])], "here: .*positions"),
        ],
    )
    def test_what_cannot_be_asked_is_refused_before_a_page_is_opened(
        self, session: Session, messages: Any, message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            ids(session, messages)

    def test_a_missing_file_is_named(self, session: Session) -> None:
        with pytest.raises(FileNotFoundError, match="no-such"):
            ids(session, [("user", [("image", "no-such.png"), ("text", "why?")])])
