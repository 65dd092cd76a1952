"""Answers as clients of OpenAI's API read them: whole, or in chunks.

A masked-diffusion answer does not grow from left to right. The words of a chunk are those that are settled from the
answer's beginning on, so that joined together they are the answer; the whole draft, gaps and all, stands beside them in
``draft``, a field that other clients pass over.
"""

import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby, takewhile
from typing import Any

from llava.inference.dialog import Reply
from llava.server.errors import RequestError

GAP = "\N{MEDIUM SHADE}"
"""A position that is masked still."""
_BROKEN = "\N{REPLACEMENT CHARACTER}"
"""What half a character decodes to."""

Decode = Callable[[Sequence[int]], str]
"""The words of ids up to the first end of turn."""


def usage_of(reply: Reply) -> dict[str, Any]:
    """Tokens of the prompt, of the images in it, and of the answer."""
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.told,
        "total_tokens": reply.prompt_tokens + reply.told,
        "prompt_tokens_details": {"image_tokens": reply.image_tokens},
    }


def details_of(reply: Reply) -> dict[str, Any]:
    """What LaViDa knows of its answer and OpenAI's API has no name for."""
    return {
        "confidence": round(reply.confidence, 6),
        "doubt": reply.doubt,
        "k": [prefix.budget for prefix in reply.prefixes],
        "steps": reply.steps,
        "forwards": reply.forwards,
        "tokens_per_forward": round(reply.tokens_per_forward, 3),
        "seconds": {stage: round(seconds, 6) for stage, seconds in reply.seconds.items()},
        "notes": list(reply.notes),
    }


def draft_of(tokens: Sequence[int], decode: Decode, mask_id: int) -> str:
    """An unfinished answer, with a block for each position that is masked."""
    runs = groupby(tokens, lambda token: token == mask_id)
    return "".join(GAP * len(list(run)) if masked else decode(list(run)) for masked, run in runs)


@dataclass(kw_only=True)
class Settled:
    """The words of an answer that nothing changes any more, as they come."""

    decode: Decode
    mask_id: int
    told: str = field(default="", init=False)
    """All words so far."""

    def more(self, tokens: Sequence[int]) -> str:
        """The words that a draft adds. Space at their end waits for what follows, and so does half a character."""
        settled = list(takewhile(lambda token: token != self.mask_id, tokens))
        return self._further(self.decode(settled).strip().rstrip(_BROKEN).rstrip())

    def rest(self, text: str) -> str:
        """The words that the finished answer adds."""
        return self._further(text)

    def _further(self, text: str) -> str:
        if not text.startswith(self.told):
            return ""
        more = text[len(self.told) :]
        self.told = text
        return more


@dataclass(frozen=True, kw_only=True)
class Completion:
    """The envelope of one answer."""

    model: str
    ident: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, reply: Reply, *, ended: bool) -> dict[str, Any]:
        """The answer in one object; ``ended`` is whether it ended by itself and not at its length."""
        message = {"role": "assistant", "content": reply.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(ended)}
        head = self._head("chat.completion")
        return {**head, "choices": [choice], "usage": usage_of(reply), "lavida": details_of(reply)}

    def first(self) -> bytes:
        """The chunk that opens the turn."""
        return self._chunk({"role": "assistant", "content": ""})

    def draft(self, words: str, draft: str, step: int) -> bytes:
        """Words that are settled, and all that is thought of after a step."""
        return self._chunk({"content": words} if words else {}, draft={"text": draft, "step": step})

    def last(self, words: str, reply: Reply, *, ended: bool) -> bytes:
        """The chunk that closes the turn."""
        delta = {"content": words} if words else {}
        return self._chunk(delta, finish_reason=_reason(ended), lavida=details_of(reply))

    def usage(self, reply: Reply) -> bytes:
        """The chunk behind the last, for those who asked for it."""
        return _event({**self._head("chat.completion.chunk"), "choices": [], "usage": usage_of(reply)})

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None, **beside: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _event({**self._head("chat.completion.chunk"), "choices": [choice], **beside})

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.ident, "object": kind, "created": self.created, "model": self.model}


DONE = b"data: [DONE]\n\n"
"""The end of a stream."""


def failed(error: RequestError) -> bytes:
    """An error in the middle of a stream."""
    return _event(error.body)


def _event(value: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


def _reason(ended: bool) -> str:
    return "stop" if ended else "length"
