"""What is timed: a question about a page, and a model of full size to ask.

Everything is batch 1, as a person waits for it.
"""

from dataclasses import dataclass

import torch
from PIL import Image
from transformers import PreTrainedTokenizerBase

from llava.conversation import Conversation
from llava.mm_utils import tokenizer_image_token
from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.model.language_model.lavida_config import LavidaConfig
from llava.model.language_model.registry import BACKBONES
from llava.question import Question

FULL_SIZE_VISION = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
}
"""google/siglip-so400m-patch14-384."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is timed."""

    image: Image.Image
    prompt_ids: torch.Tensor
    question: Question

    @classmethod
    def of_question(
        cls, image: Image.Image, text: str, tokenizer: PreTrainedTokenizerBase, template: Conversation
    ) -> "Workload":
        """A question about an image, in LaViDa's prompt."""
        conversation = template.copy()
        conversation.append_message("user", f"<image>\n{text}")
        conversation.append_message("assistant", None)
        ids = torch.tensor(tokenizer_image_token(conversation.get_prompt(), tokenizer))
        return cls(image=image, prompt_ids=ids, question=Question.from_text(text, tokenizer))


def full_size_config(backbone: str = "llava_llada") -> LavidaConfig:
    """The sizes of LaViDa around one of ``BACKBONES``, whose defaults are its released model's."""
    config: LavidaConfig = BACKBONES[backbone].resolve().config_class(mm_vision_config=FULL_SIZE_VISION)
    return config


def full_size_model(
    device: torch.device, dtype: torch.dtype = torch.bfloat16, backbone: str = "llava_llada"
) -> LavidaForMaskedDiffusion:
    """LaViDa of full size around one of ``BACKBONES``, with random weights on a device; speed does not depend on what
    they are."""
    with torch.device("meta"):
        model: LavidaForMaskedDiffusion = BACKBONES[backbone].resolve()(full_size_config(backbone))
    model = model.to(dtype).to_empty(device=device).eval()
    generator = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and name.endswith("weight"):
                parameter.fill_(1.0)
            else:
                parameter.normal_(std=0.02, generator=generator)
    return model
