"""What goes wrong with a request, in the shape that clients of OpenAI's API know."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class RequestError(Exception):
    """A request that cannot be answered: whose fault it is, and what to do about it."""

    message: str
    status: int = 400
    code: str | None = None
    """A word for programs."""
    param: str | None = None
    """What of the request is at fault."""
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(self.message)

    @property
    def kind(self) -> str:
        """OpenAI's name for errors of this status."""
        return {
            401: "authentication_error",
            403: "permission_error",
            429: "rate_limit_error",
            500: "server_error",
            503: "server_error",
            504: "timeout_error",
        }.get(self.status, "invalid_request_error")

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object that tells it."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


def queue_is_full(limit: int, seconds: float) -> RequestError:
    """Too many requests are waiting; ``seconds`` is when there may be room."""
    return RequestError(
        f"{limit} requests are waiting already; try again in a moment",
        status=429,
        code="queue_full",
        headers={"Retry-After": str(max(1, round(seconds)))},
    )


def too_late(seconds: float) -> RequestError:
    """The deadline has passed."""
    return RequestError(
        f"the answer took longer than {seconds:g} s; ask less at once, or try again", status=504, code="deadline"
    )


def shutting_down() -> RequestError:
    """Nothing new is taken up any more."""
    return RequestError(
        "the server is shutting down; try again in a moment",
        status=503,
        code="shutting_down",
        headers={"Retry-After": "5"},
    )


def internal() -> RequestError:
    """Something that nobody foresaw; the log knows more than the client should."""
    return RequestError("something went wrong inside the server; its log says what", status=500, code="internal_error")
