"""What the tests of transformers' interface share: messages, and the answers in what ``generate`` gives."""

from typing import Any

import torch

from tests.integration_helpers import IMAGES

QUESTION = "What is the total?"
FEW = {"max_new_tokens": 8}


def user(text: str, *images: Any) -> dict[str, Any]:
    """A turn of the user's, its images in front."""
    parts = [{"type": "image", "image": image} for image in images]
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}


def inputs(processor: Any, *conversations: list[dict[str, Any]]) -> Any:
    """What the processor makes of conversations; of a question about a picture where there is none."""
    asked = list(conversations) or [[user(QUESTION, IMAGES[0])]]
    return processor.apply_chat_template(asked, tokenize=True, return_dict=True)


def answers(asked: Any, output: Any) -> torch.Tensor:
    """(batch, answer) ids behind the prompts."""
    return output.sequences[:, asked["input_ids"].shape[1] :]
