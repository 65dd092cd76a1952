"""The conversation templates of LaViDa's language models, as LaViDa writes prompts with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from types import MappingProxyType

SYSTEM = (
    "You are a helpful language and vision assistant. You are able to understand the visual content that the user "
    "provides, and assist the user with a variety of tasks using natural language."
)


class SeparatorStyle(Enum):
    """How turns are set apart; LaViDa's callers compare ``conversation.sep_style`` with this."""

    LLADA = auto()
    CHATML = auto()


@dataclass(kw_only=True)
class Conversation:
    """Turns of a conversation and the text they make, LLaDA's unless told otherwise; the text needs no tokenizer.

    ``copy()`` a template before adding turns: templates are shared.
    """

    system: str = SYSTEM
    roles: tuple[str, str] = ("user", "assistant")
    messages: list[tuple[str, str | None]] = field(default_factory=list)
    sep_style: SeparatorStyle = SeparatorStyle.LLADA
    begin: str = "<|startoftext|>"
    """What the text starts with."""
    header: str = "<|start_header_id|>{role}<|end_header_id|>\n\n"
    """What stands before each message."""
    sep: str = "<|eot_id|>"
    """The word that ends a turn."""
    behind: str = ""
    """What stands behind that word."""
    strip: bool = True
    """Whether messages lose the white space around them."""

    @property
    def turn_end(self) -> str:
        """What stands behind each message, and is learned behind an answer."""
        return self.sep + self.behind

    def append_message(self, role: str, message: str | None) -> None:
        """Add a turn; None as the message opens the turn that the model is to write.

        Raises:
            ValueError: for a role that the template does not know.
        """
        if role not in self.roles:
            raise ValueError(f"role {role!r} does not exist; use one of {self.roles}")
        self.messages.append((role, message))

    def get_prompt(self) -> str:
        """The conversation as text, with the template's header and end-of-turn words."""
        turns = [("system", self.system), *self.messages] if self.system else list(self.messages)
        text = self.begin
        for role, message in turns:
            text += self.header.format(role=role)
            if message is not None:
                text += (message.strip() if self.strip else message) + self.turn_end
        return text

    def copy(self) -> Conversation:
        """The same conversation with a list of turns of its own."""
        return replace(self, messages=list(self.messages))


CHATML = Conversation(
    sep_style=SeparatorStyle.CHATML,
    begin="",
    header="<|im_start|>{role}\n",
    sep="<|im_end|>",
    behind="\n",
    strip=False,
)
"""As Qwen's descendants read it."""

conv_templates: Mapping[str, Conversation] = MappingProxyType({"llada": Conversation(), "dream": CHATML})
"""By the names that LaViDa's callers give. A model's own is ``model.config.conversation``."""
