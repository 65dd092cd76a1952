"""Conversations with pictures as what a model takes: ids, a mask, pixel views and the pictures' sizes.

Axis names: batch (prompts), length (ids), images (of all prompts).
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import BatchFeature, PreTrainedTokenizerBase
from transformers.processing_utils import ProcessorMixin

from llava.constants import DEFAULT_IMAGE_TOKEN, IMAGE_TOKEN_INDEX
from llava.conversation import conv_templates
from llava.hf.chat_template import chat_template as template_of
from llava.hf.directories import SMALL_FILES, refuse_options, take_directory
from llava.hf.image_processing import LavidaImageProcessor
from llava.image_io import decode_base64_image
from llava.mm_utils import tokenizer_image_token
from llava.model.builder import load_tokenizer
from llava.model.config_file import read_config
from llava.model.language_model.lavida import LavidaForMaskedDiffusion

_TEMPLATE_FILE = "chat_template.jinja"
_IDLE = {"videos": None, "audio": None, "add_special_tokens": False, "truncation": False}


class LavidaProcessor(ProcessorMixin):
    """A LaViDa checkpoint's image processor and tokenizer in one.

    An image stays one id, -200, whatever becomes of it: how many tokens it takes is decided in the model, with SHIRG-X
    for each question anew.

    Args:
        chat_template: of conversations with images, by the word ``<image>``. One that knows no images, as tokenizers
            have them, gives way to LaViDa's for LLaDA.
    """

    def __init__(
        self,
        image_processor: LavidaImageProcessor,
        tokenizer: PreTrainedTokenizerBase,
        chat_template: str | None = None,
    ) -> None:
        if chat_template is None or DEFAULT_IMAGE_TOKEN not in chat_template:
            chat_template = template_of(conv_templates["llada"])
        super().__init__(image_processor, tokenizer, chat_template=chat_template)
        self.image_token, self.image_token_id = DEFAULT_IMAGE_TOKEN, IMAGE_TOKEN_INDEX

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> "LavidaProcessor":
        """The processor of a checkpoint's directory or hub repository, saved as one or not.

        Args:
            options: ``shirg_x`` for other settings than the checkpoint's, and those of the hub.

        Raises:
            FileNotFoundError: if there is no such checkpoint, or no tokenizer in it.
            ValueError: if one of its files is broken.
            TypeError: for an option that does not exist.
        """
        directory = take_directory(pretrained_model_name_or_path, options, files=SMALL_FILES)
        file = directory / _TEMPLATE_FILE
        template = file.read_text(encoding="utf-8") if file.is_file() else ""
        if DEFAULT_IMAGE_TOKEN not in template:
            template = template_of(read_config(directory, {}).conversation)
        return cls(
            LavidaImageProcessor.from_pretrained(directory, **options),
            load_tokenizer(directory),
            chat_template=template,
        )

    @property
    def model_input_names(self) -> list[str]:
        """What a call gives."""
        return ["input_ids", "attention_mask", *self.image_processor.model_input_names]

    def follow(self, model: LavidaForMaskedDiffusion) -> None:
        """Make the views that this model wants from now on, after SHIRG-X was applied to it or removed from it."""
        shirg_x = None if getattr(model.config, "image_view", None) is None else model.config.shirg_x
        self.image_processor = LavidaImageProcessor.from_config(model.config, shirg_x=shirg_x)

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        *,
        return_tensors: str = "pt",
        padding: bool | str = True,
        padding_side: str = "left",
        **unknown: Any,
    ) -> BatchFeature:
        """``input_ids`` and ``attention_mask`` (batch, length), and ``pixel_values`` and ``image_sizes`` of all images.

        Args:
            images: one or several, flat or in a list for each text; each as ``LavidaImageProcessor.open`` takes it.
            text: finished prompts, with ``<image>`` where an image stands; ``apply_chat_template`` writes such.
            padding: False refuses prompts of different lengths.

        Raises:
            ValueError: if prompts and images do not pair up, or a setting does not exist.
            TypeError: for an option that does not exist.
        """
        for name, idle in _IDLE.items():
            if unknown.pop(name, idle) not in (idle, None):
                raise ValueError(f"{name} is not supported; leave it out")
        refuse_options(unknown, type(self).__name__)
        if text is None:
            raise ValueError("there is no text; give prompts, as apply_chat_template writes them")
        if return_tensors not in (None, "pt"):
            raise ValueError(f"return_tensors={return_tensors!r} is not supported; use 'pt'")
        prompts = [text] if isinstance(text, str) else list(text)
        pictures = self._pictures(images, [prompt.count(DEFAULT_IMAGE_TOKEN) for prompt in prompts])
        rows = [self._ids(prompt) for prompt in prompts]
        data = self._pad(rows, padding, padding_side)
        if pictures:
            data |= self.image_processor(pictures)
        return BatchFeature(data)

    def _pictures(self, images: Any, wanted: Sequence[int]) -> list[Any]:
        """All images in the order of the placeholders."""
        if images is None:
            images = []
        elif not isinstance(images, list | tuple):
            images = [images]
        nested = [each for each in images if isinstance(each, list | tuple)]
        given = [len(each) for each in nested] if nested else [len(images)]
        if nested and len(nested) < len(images):
            raise ValueError("images must be one list, or one list for each text, and not a mixture")
        if given != (list(wanted) if nested else [sum(wanted)]):
            raise ValueError(
                f"the texts hold {list(wanted)} {DEFAULT_IMAGE_TOKEN} but {given} images were given; write one for "
                "each image, or use apply_chat_template, which does"
            )
        return [image for each in nested for image in each] if nested else list(images)

    def _ids(self, prompt: str) -> list[int]:
        ids = tokenizer_image_token(prompt, self.tokenizer)
        assert isinstance(ids, list)
        return ids

    def _pad(self, rows: Sequence[Sequence[int]], padding: bool | str, side: str) -> dict[str, torch.Tensor]:
        if padding not in (True, False, "longest", "do_not_pad") or side not in ("left", "right"):
            raise ValueError(f"padding={padding!r} to the {side!r} is not supported; use True, to the left or right")
        longest = max(map(len, rows))
        if padding in (False, "do_not_pad") and min(map(len, rows)) < longest:
            raise ValueError(f"the prompts have {[len(row) for row in rows]} ids; leave padding at True")
        ids = torch.full((len(rows), longest), self.tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for place, row in enumerate(rows):
            span = slice(longest - len(row), None) if side == "left" else slice(len(row))
            ids[place, span], mask[place, span] = torch.tensor(row), 1
        return {"input_ids": ids, "attention_mask": mask}

    def apply_chat_template(
        self,
        conversation: Sequence[Any],
        chat_template: str | None = None,
        *,
        add_generation_prompt: bool | None = None,
        continue_final_message: bool = False,
        **options: Any,
    ) -> Any:
        """As transformers' processors: a conversation, or several, as text, or with ``tokenize`` as ids.

        Args:
            conversation: messages with ``role`` and ``content``, a text or a list of ``{"type": "text", "text": ...}``
                and ``{"type": "image", "image": ...}`` (or ``path``, ``url`` of a file, ``base64``); several as a list
                of such.
            add_generation_prompt: open the turn that the model is to write; unless said, where the last turn is the
                user's.

        Raises:
            ValueError: if there is no message, or a text holds special tokens, with which it could end its own turn.
        """
        if not len(conversation):
            raise ValueError("the conversation is empty; give at least one message")
        several = not isinstance(conversation[0], Mapping)
        checked = [self._checked(turns) for turns in (conversation if several else [conversation])]
        if add_generation_prompt is None:
            add_generation_prompt = not continue_final_message and all(turns[-1]["role"] == "user" for turns in checked)
        return super().apply_chat_template(
            checked if several else checked[0],
            chat_template,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            **options,
        )

    def _checked(self, turns: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The messages with words that are only words, and with pictures for base64 text."""
        if not len(turns):
            raise ValueError("a conversation is empty; give at least one message")
        found = []
        for turn in turns:
            content = turn.get("content") or ""
            if isinstance(content, str):
                self._check_words(content)
            else:
                content = [self._part(part) for part in content]
            found.append({**turn, "content": content})
        return found

    def _part(self, part: Mapping[str, Any]) -> dict[str, Any]:
        if part.get("type") == "text":
            self._check_words(part.get("text", ""))
        elif part.get("type") not in ("image", "image_url"):
            raise ValueError(f"content of type {part.get('type')!r} is not supported; use text and image")
        return {"type": "image", "image": decode_base64_image(part["base64"])} if "base64" in part else dict(part)

    def _check_words(self, text: str) -> None:
        added = self.tokenizer.added_tokens_decoder.values()
        special = {str(token) for token in added if token.special} | set(self.tokenizer.all_special_tokens)
        if held := sorted(word for word in {*special, DEFAULT_IMAGE_TOKEN} if word in text):
            raise ValueError(f"the text {text!r} holds the special token {held[0]}; leave it out")

    def decode(self, token_ids: Any, skip_special_tokens: bool = False, **options: Any) -> Any:
        """The text of ids, or the texts of several rows; images are ``<image>``, or nothing with special tokens left
        out."""
        rows = token_ids.tolist() if hasattr(token_ids, "tolist") else token_ids
        if isinstance(rows, int):
            rows = [rows]
        if rows and not isinstance(rows[0], int):
            return [self.decode(row, skip_special_tokens, **options) for row in rows]
        joint = "" if skip_special_tokens else DEFAULT_IMAGE_TOKEN
        texts = (self.tokenizer.decode(ids, skip_special_tokens=skip_special_tokens, **options) for ids in _cut(rows))
        return joint.join(texts)

    def batch_decode(self, sequences: Any, **options: Any) -> list[str]:
        """The texts of several rows of ids."""
        return [self.decode(row, **options) for row in sequences]

    def post_process_image_text_to_text(
        self, generated_outputs: Any, skip_special_tokens: bool = True, **options: Any
    ) -> list[str]:
        """The texts of what ``generate`` gave, prompts included."""
        return self.batch_decode(generated_outputs, skip_special_tokens=skip_special_tokens, **options)


def _cut(ids: Sequence[int]) -> Iterator[list[int]]:
    """The ids between the images."""
    piece: list[int] = []
    for token in ids:
        if token == IMAGE_TOKEN_INDEX:
            yield piece
            piece = []
        else:
            piece.append(token)
    yield piece
