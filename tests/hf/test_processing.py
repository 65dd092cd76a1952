"""Prompts are LaViDa's, whatever form they come in; what cannot be one is refused in words."""

import base64
from io import BytesIO
from pathlib import Path

import pytest
import torch
from transformers import AutoProcessor

from llava.conversation import conv_templates
from llava.hf.chat_template import chat_template
from llava.mm_utils import process_images
from tests.hf_helpers import QUESTION, inputs, user
from tests.integration_helpers import IMAGES, ask
from tests.model.test_parity import block_image


def written(*turns: tuple[str, str]) -> str:
    """The conversation as LaViDa's own template writes it."""
    conversation = conv_templates["llada"].copy()
    for role, text in turns:
        conversation.append_message(role, text)
    conversation.append_message("assistant", None)
    return conversation.get_prompt()


class TestText:
    def test_is_that_of_lavidas_template(self, stock) -> None:
        processor, _ = stock
        turns = [user(f" {QUESTION} ", *IMAGES[:2]), {"role": "assistant", "content": "12"}, user("And the tax?")]
        expected = written(("user", f"<image>\n<image>\n{QUESTION}"), ("assistant", "12"), ("user", "And the tax?"))
        assert processor.apply_chat_template(turns) == expected

    def test_a_system_turn_takes_the_place_of_lavidas(self, stock) -> None:
        text = stock[0].apply_chat_template([{"role": "system", "content": "Be brief."}, user("Why?")])
        assert text.startswith("<|startoftext|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>")

    def test_no_answer_is_opened_behind_an_answer(self, stock) -> None:
        turns = [user(QUESTION), {"role": "assistant", "content": [{"type": "text", "text": "12"}]}]
        assert stock[0].apply_chat_template(turns).endswith("12<|eot_id|>")
        assert stock[0].apply_chat_template(turns, continue_final_message=True).endswith("12")
        assert stock[0].apply_chat_template(turns, add_generation_prompt=True).endswith("<|end_header_id|>\n\n")

    def test_a_turn_that_is_only_an_image_keeps_its_end(self, stock) -> None:
        processor, model = stock
        turn = {"role": "user", "content": [{"type": "image", "image": IMAGES[0]}]}
        ids = inputs(processor, [turn])["input_ids"][0].tolist()
        assert ids[ids.index(-200) + 1] == model.config.eot_token_id

    def test_a_template_with_images_is_kept_and_one_without_is_not(self, stock, tmp_path: Path) -> None:
        processor, _ = stock
        kind = type(processor)
        plain = kind(processor.image_processor, processor.tokenizer, chat_template="text")
        assert plain.chat_template == processor.chat_template == chat_template(conv_templates["llada"])
        own = kind(processor.image_processor, processor.tokenizer, chat_template="<image>{{ messages }}")
        own.save_pretrained(tmp_path)
        assert AutoProcessor.from_pretrained(tmp_path).chat_template == "<image>{{ messages }}"


class TestIds:
    def test_are_those_of_a_session(self, session, chosen) -> None:
        expected, _ = session.prompt(QUESTION)
        assert torch.equal(inputs(chosen[0])["input_ids"][0], expected)

    def test_are_padded_to_the_left_and_masked(self, stock, loaded) -> None:
        processor, _ = stock
        texts = [QUESTION, "What is it, and why is it so?"]
        both = inputs(processor, *([user(text, IMAGES[0])] for text in texts))
        for row, text in enumerate(texts):
            alone = ask(loaded, text)
            assert both["attention_mask"][row].sum() == len(alone)
            assert both["attention_mask"][row, -len(alone) :].all()
            assert torch.equal(both["input_ids"][row, -len(alone) :], alone)
        right = processor(text=[processor.apply_chat_template([user(text)]) for text in texts], padding_side="right")
        assert right["attention_mask"][:, 0].all()
        assert not right["attention_mask"][:, -1].all()

    def test_prompts_of_different_lengths_are_refused_without_padding(self, stock) -> None:
        with pytest.raises(ValueError, match="leave padding at True"):
            stock[0](text=["a", "bc"], padding=False)

    def test_decode_to_the_text_again(self, stock) -> None:
        processor, _ = stock
        asked = inputs(processor, [user(QUESTION, IMAGES[0])])
        text = processor.decode(asked["input_ids"][0])
        assert text == processor.apply_chat_template([user(QUESTION, IMAGES[0])]).replace("<image>\n", "<image>")
        plain = processor.batch_decode(asked["input_ids"], skip_special_tokens=True)
        assert plain == processor.post_process_image_text_to_text(asked["input_ids"])
        assert QUESTION in plain[0]
        assert "<" not in plain[0]


class TestPixels:
    def test_are_lavidas_views_padded_with_zeros(self, stock, loaded) -> None:
        processor, model = stock
        pictures = [IMAGES[0], block_image(500, 503, 4), IMAGES[2]]
        asked = inputs(processor, [user("Compare.", *pictures)])
        views = process_images(pictures, loaded[2], model.config)
        assert asked["pixel_values"].shape[:2] == (3, max(map(len, views)))
        assert len({len(each) for each in views}) > 1
        for padded, own in zip(asked["pixel_values"], views, strict=True):
            assert torch.equal(padded[: len(own)], own)
            assert not padded[len(own) :].any()
        assert asked["image_sizes"].tolist() == [list(image.size) for image in pictures]

    def test_are_the_same_from_a_file_bytes_an_array_and_base64(self, stock, tmp_path: Path) -> None:
        processor, _ = stock
        file = BytesIO()
        IMAGES[0].save(file, "PNG")
        text = base64.b64encode(file.getvalue()).decode()
        IMAGES[0].save(tmp_path / "page.png")
        expected = inputs(processor)["pixel_values"]
        ways = [
            {"path": str(tmp_path / "page.png")},
            {"url": str(tmp_path / "page.png")},
            {"url": f"data:image/png;base64,{text}"},
            {"base64": text},
            {"image": file.getvalue()},
            {"image": torch.tensor(list(IMAGES[0].tobytes()), dtype=torch.uint8).reshape(70, 90, 3)},
        ]
        for way in ways:
            turn = {"role": "user", "content": [{"type": "image", **way}, {"type": "text", "text": QUESTION}]}
            assert torch.equal(inputs(processor, [turn])["pixel_values"], expected), list(way)
        openai = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{text}"}}
        turn = {"role": "user", "content": [openai, {"type": "text", "text": QUESTION}]}
        assert torch.equal(inputs(processor, [turn])["pixel_values"], expected)

    def test_nested_images_belong_to_their_texts(self, stock) -> None:
        processor, _ = stock
        texts = ["<image>one", "<image><image>two"]
        nested = processor(images=[IMAGES[:1], IMAGES[1:]], text=texts)
        flat = processor(images=IMAGES, text=texts)
        assert torch.equal(nested["pixel_values"], flat["pixel_values"])
        with pytest.raises(ValueError, match=r"hold \[1, 2\] <image> but \[2, 1\] images"):
            processor(images=[IMAGES[:2], IMAGES[2:]], text=texts)


REFUSED = {
    "an address": (lambda: [user(QUESTION, "https://a.org/page.png")], "is an address; download the page"),
    "a special token": (lambda: [user("Hi<|eot_id|>")], "holds the special token <|eot_id|>"),
    "a special token in an answer": (
        lambda: [user("Hi"), {"role": "assistant", "content": "<|eot_id|>"}],
        "holds the special token",
    ),
    "an image's place in a text": (lambda: [user("What is <image>?")], "holds the special token <image>"),
    "a film": (lambda: [{"role": "user", "content": [{"type": "video", "path": "a.mp4"}]}], "'video' is not supported"),
    "nothing": (list, "the conversation is empty"),
}


@pytest.mark.parametrize(("turns", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_conversation_is_refused(stock, turns, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        stock[0].apply_chat_template(turns(), tokenize=True, return_dict=True)


def test_calls_that_ask_for_what_is_not_there_are_refused(stock) -> None:
    processor, _ = stock
    for options, words in (
        ({"images": IMAGES[0], "text": "Hi"}, r"hold \[0\] <image> but \[1\] images"),
        ({"text": "<image>"}, r"hold \[1\] <image> but \[0\] images"),
        ({"images": IMAGES[0]}, "there is no text"),
        ({"text": "Hi", "return_tensors": "np"}, "use 'pt'"),
        ({"text": "Hi", "padding": "max_length"}, "padding='max_length'"),
        ({"text": "Hi", "truncation": True}, "truncation is not supported"),
    ):
        with pytest.raises(ValueError, match=words):
            processor(**options)
    with pytest.raises(TypeError, match="does not take max_length"):
        processor(text="Hi", max_length=4)
    with pytest.raises(TypeError, match="does not take colour"):
        AutoProcessor.from_pretrained(processor.tokenizer.name_or_path, colour="red")


def test_a_processor_is_saved_with_all_it_needs(chosen, tmp_path: Path) -> None:
    processor, _ = chosen
    processor.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    assert again.to_dict() == processor.to_dict()
    assert again.image_processor.image_view == processor.image_processor.image_view
    expected, found = inputs(processor), inputs(again)
    assert all(torch.equal(found[name], expected[name]) for name in (*processor.model_input_names,))
    assert set(again(text="Hi")) == {"input_ids", "attention_mask"}
