"""The conversation template of LLaDA, as LaViDa writes prompts with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from types import MappingProxyType

SYSTEM = (
    "You are a helpful language and vision assistant. You are able to understand the visual content that the user "
    "provides, and assist the user with a variety of tasks using natural language."
)

BEGIN_OF_TEXT = "<|startoftext|>"
START_HEADER = "<|start_header_id|>"
END_HEADER = "<|end_header_id|>"
END_OF_TURN = "<|eot_id|>"


class SeparatorStyle(Enum):
    """How turns are set apart; LaViDa's callers compare ``conversation.sep_style`` with this."""

    LLADA = auto()


@dataclass(kw_only=True)
class Conversation:
    """Turns of a conversation and the text they make; the text needs no tokenizer.

    ``copy()`` a template before adding turns: templates are shared.
    """

    system: str = SYSTEM
    roles: tuple[str, str] = ("user", "assistant")
    messages: list[tuple[str, str | None]] = field(default_factory=list)
    sep_style: SeparatorStyle = SeparatorStyle.LLADA
    sep: str = END_OF_TURN

    def append_message(self, role: str, message: str | None) -> None:
        """Add a turn; None as the message opens the turn that the model is to write.

        Raises:
            ValueError: for a role that the template does not know.
        """
        if role not in self.roles:
            raise ValueError(f"role {role!r} does not exist; use one of {self.roles}")
        self.messages.append((role, message))

    def get_prompt(self) -> str:
        """The conversation as text, with LLaDA's header and end-of-turn words."""
        turns = [("system", self.system), *self.messages] if self.system else list(self.messages)
        text = BEGIN_OF_TEXT
        for role, message in turns:
            text += f"{START_HEADER}{role}{END_HEADER}\n\n"
            if message is not None:
                text += message.strip() + END_OF_TURN
        return text

    def copy(self) -> Conversation:
        """The same conversation with a list of turns of its own."""
        return replace(self, messages=list(self.messages))


conv_templates: Mapping[str, Conversation] = MappingProxyType({"llada": Conversation()})
