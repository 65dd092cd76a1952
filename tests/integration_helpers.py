"""What the tests of the patch share: a small setting, images, prompts and questions."""

import torch

from llava.mm_utils import process_images, tokenizer_image_token
from llava.question import Question
from shirg import ShirgXConfig
from tests.model.test_parity import block_image

GRID = 12
SMALL = ShirgXConfig(similarity="projected").for_grid(GRID)
DECODING = {"max_new_tokens": 8, "prefix_lm": True}
IMAGES = [block_image(90, 70, 1), block_image(300, 100, 2), block_image(64, 200, 3)]


def ask(loaded, text: str, answer: str | None = None) -> torch.Tensor:
    conversation = loaded[1].config.conversation.copy()
    conversation.append_message("user", f"<image>\n{text}")
    conversation.append_message("assistant", answer)
    return tokenizer_image_token(conversation.get_prompt(), loaded[0], return_tensors="pt")


def question(loaded, text: str) -> Question:
    return Question.from_text(text, loaded[0])


def views_and_sizes(loaded, model, images=IMAGES):
    return process_images(images, loaded[2], model.config), [image.size for image in images]


def answer(loaded, model, image=IMAGES[0]) -> torch.Tensor:
    views, sizes = views_and_sizes(loaded, model, [image])
    return model.generate(ask(loaded, "What is the total?"), views, sizes, **DECODING)


def set_coord_out(handle, scale: float = 0.3) -> None:
    with torch.no_grad():
        handle.model.shirg_x.coordinates.coord_out.weight.normal_(std=scale)
