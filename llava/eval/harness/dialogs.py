"""Conversations as harnesses give them: messages of a role and its parts, each a text, an image, or what is refused.

A part is a pair of its kind and its value, as ("text", words) or ("image", picture or path).
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, cast

from llava.inference.dialog import PreparedDialog, Turn, check_dialog, prepare_dialog
from llava.inference.session import Session

Part = tuple[str, Any]
Message = tuple[str, Sequence[Part]]


def prepare_messages(
    session: Session, messages: Iterable[Message], *, answer_tokens: int, where: str
) -> PreparedDialog:
    """The conversation with its pages encoded, ready to be denoised.

    A conversation of one question about one image is what ``Session.ask`` asks.

    Args:
        answer_tokens: positions of the answer.
        where: names the conversation in messages.

    Raises:
        FileNotFoundError: if an image is a path and nothing is there.
        ValueError: if it holds anything but text and images, a system turn that is not the first, or what
            ``check_dialog`` refuses; before any page is encoded.
    """
    system, turns = _check_parts(list(messages), where)
    try:
        words = [(role, "\n".join(_words(parts))) for role, parts in turns]
        pages = sum(kind == "image" for _, parts in turns for kind, _ in parts)
        check_dialog(session, words, pages=pages, answer_tokens=answer_tokens, system=system)
        dialog = prepare_dialog(session, [_encoded(session, role, parts) for role, parts in turns], system=system)
        session.model.check_context(dialog.length, answer_tokens)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    return dialog


def _check_parts(messages: list[Message], where: str) -> tuple[str | None, list[Message]]:
    """The system's words, and the turns of the others."""
    for role, parts in messages:
        for kind, _ in parts:
            if kind not in ("text", "image"):
                raise ValueError(
                    f"{where} shows {kind} content, but lavida reads text and images only; choose another task"
                )
            if kind == "image" and role != "user":
                raise ValueError(f"{where} has an image in a turn of the {role}; lavida sees the user's only")
    if any(role == "system" for role, _ in messages[1:]):
        raise ValueError(f"{where} has a system turn behind its first; lavida takes one, before all others")
    if messages and messages[0][0] == "system":
        return "\n".join(_words(messages[0][1])), messages[1:]
    return None, messages


def _words(parts: Sequence[Part]) -> list[str]:
    return [text for kind, value in parts if kind == "text" and (text := str(value).strip())]


def _encoded(session: Session, role: str, parts: Sequence[Part]) -> Turn:
    shown = tuple(session.encode(value) if kind == "image" else str(value) for kind, value in parts)
    return Turn(role=cast(Literal["user", "assistant"], role), parts=shown)
