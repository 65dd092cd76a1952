"""A backbone's prompts as a chat template, for messages whose content is a text or a list of texts and images."""

from dataclasses import replace

from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.conversation import Conversation

_ROLE, _TEXT = "role-of-a-turn", "text-of-a-turn"

_CONTENT = (
    "{% if message['content'] is string %}{{ message['content'] | trim }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    f"{{{{ {DEFAULT_IMAGE_TOKEN + chr(10)!r} }}}}"
    "{% endif %}{% endfor %}"
    "{% set words = namespace(text='') %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}"
    "{% set words.text = words.text + part['text'] %}{% endif %}{% endfor %}{{ words.text | trim }}{% endif %}"
)
"""Images first, a line each. What follows an image is never an end of turn, since LaViDa leaves out the token behind an
image."""


def chat_template(conversation: Conversation) -> str:
    """The template that writes what ``conversation`` writes, its system turn where the messages have none."""
    begin = replace(conversation, system="", messages=[]).get_prompt()
    opened = replace(conversation, system="", messages=[(_ROLE, None)]).get_prompt().removeprefix(begin)
    closed = replace(conversation, system="", messages=[(_ROLE, _TEXT)]).get_prompt()
    before, behind = opened.split(_ROLE)
    end = closed.removeprefix(f"{begin}{opened}{_TEXT}")
    system = replace(conversation, messages=[]).get_prompt().removeprefix(begin)
    return (
        f"{_literal(begin)}{{% if messages[0]['role'] != 'system' %}}{_literal(system)}{{% endif %}}"
        f"{{% for message in messages %}}{_literal(before)}{{{{ message['role'] }}}}{_literal(behind)}"
        f"{_CONTENT}{_literal(end)}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{_literal(opened.replace(_ROLE, conversation.roles[1]))}{{% endif %}}"
    )


def _literal(text: str) -> str:
    """Text as Jinja writes it, line breaks at the start and the end too."""
    return f"{{{{ {text!r} }}}}" if text else ""
