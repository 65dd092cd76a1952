"""The model class that VLMEvalKit runs; this module needs VLMEvalKit (``pip install ms-vlmeval``)."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from vlmeval.vlm.base import BaseModel

from llava.eval.harness.dialogs import Message, prepare_messages
from llava.eval.harness.settings import HarnessSettings
from llava.inference.decoding import find_decoding
from llava.inference.dialog import answer_dialogs
from llava.inference.session import Session


class LavidaVlm(BaseModel):
    """LaViDa with or without SHIRG-X as a model of VLMEvalKit, which asks one question after the other.

    Args:
        arguments: as ``HarnessSettings``; without ``tokens``, answers have the decoding's own length.

    Raises:
        FileNotFoundError, ValueError: as ``HarnessSettings`` and ``Session.open``.
    """

    INTERLEAVE = True

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self.settings = HarnessSettings.from_dict(arguments)
        self.session = Session.open(self.settings.checkpoint(), device=self.settings.device, dtype=self.settings.dtype)
        length = {} if self.settings.tokens is None else {"max_new_tokens": self.settings.tokens}
        self.decoding = find_decoding(self.settings.decoding, **length)

    def generate_inner(self, message: Sequence[Mapping[str, Any]], dataset: str | None = None) -> str:
        """The answer to texts and images that follow each other.

        Args:
            message: parts of ``type`` text or image with their ``value``, words or a path; of the user, unless their
                ``role`` says system.

        Raises:
            FileNotFoundError, ValueError: as ``prepare_messages``.
        """
        turns = groupby(message, key=lambda part: part.get("role", "user"))
        return self._answer(
            [(role, [(part["type"], part["value"]) for part in parts]) for role, parts in turns], dataset
        )

    def chat_inner(self, messages: Sequence[Mapping[str, Any]], dataset: str | None = None) -> str:
        """The next turn of a conversation.

        Args:
            messages: each with its ``role`` and, as ``content``, parts as of ``generate_inner``.

        Raises:
            FileNotFoundError, ValueError: as ``prepare_messages``.
        """
        turns = [(each["role"], [(part["type"], part["value"]) for part in each["content"]]) for each in messages]
        return self._answer(turns, dataset)

    def _answer(self, messages: Sequence[Message], dataset: str | None) -> str:
        length = self.decoding.max_new_tokens
        where = "a question" if dataset is None else f"a question of {dataset}"
        dialog = prepare_messages(self.session, messages, answer_tokens=length, where=where)
        (reply,) = answer_dialogs(self.session, [dialog], decoding=self.decoding, seed=self.settings.seed)
        return reply.text
