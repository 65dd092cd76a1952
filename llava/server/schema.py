"""The request of ``/v1/chat/completions``: OpenAI's, as far as a diffusion model can do what it asks.

What has no meaning here and changes no answer is taken and left alone; what would change the answer and cannot be done
is refused, and so is what nobody knows.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from llava.seeds import MAX_SEED
from llava.server.errors import RequestError


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TextPart(_Model):
    """Words."""

    type: Literal["text"]
    text: str


class ImageUrl(_Model):
    """A picture, a PDF or a TIFF as a data URL, or at an address of a host that the server allows."""

    url: str
    detail: str | None = None
    """Without meaning here: how much is kept of a page is the server's setting."""
    page: int | None = Field(default=None, ge=1)
    """Ours: of a PDF or a TIFF, counted from 1."""


class ImagePart(_Model):
    """A page among the words."""

    type: Literal["image_url"]
    image_url: ImageUrl


class FileData(_Model):
    """A PDF as OpenAI's clients send it."""

    file_data: str
    filename: str | None = None
    page: int | None = Field(default=None, ge=1)


class FilePart(_Model):
    """A file among the words."""

    type: Literal["file"]
    file: FileData


Part = Annotated[TextPart | ImagePart | FilePart, Field(discriminator="type")]


class Message(_Model):
    """A turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[
        Annotated[str, Tag("text")] | Annotated[list[Part], Tag("parts")],
        Discriminator(lambda given: "text" if isinstance(given, str) else "parts"),
    ]
    name: str | None = None
    refusal: None = None

    @property
    def parts(self) -> list[TextPart | ImagePart | FilePart]:
        return [TextPart(type="text", text=self.content)] if isinstance(self.content, str) else self.content


class StreamOptions(_Model):
    """What a stream tells beside the answer."""

    include_usage: bool = False
    include_obfuscation: bool = False


class ResponseFormat(_Model):
    """Words are all there is."""

    type: Literal["text"]


_IDLE: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "top_p": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "stop": ([],),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "modalities": (["text"],),
    "store": (False,),
}
"""Fields that ask for nothing with these values, or null, and for what this model cannot do with others."""
_UNREAD = frozenset(
    ("user", "metadata", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls")
)
"""Fields that change no answer."""


class ChatRequest(_Model):
    """A conversation to be continued."""

    model: str
    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    """The older name."""
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False, strict=False)] | None = None
    """Above 0, tokens are drawn at random; 0 where nothing is said, unlike OpenAI's."""
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    decoding: Literal["fast", "exact", "one-per-step"] | None = None
    """Ours: the way to denoise."""

    @model_validator(mode="before")
    @classmethod
    def _leave_out_what_asks_for_nothing(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        rest = {name: value for name, value in given.items() if name not in _UNREAD}
        for name, idle in _IDLE.items():
            value = rest.pop(name, None)
            if value is not None and value not in idle:
                raise ValueError(f"{name} cannot be done by a masked-diffusion model; leave it out")
        return rest

    @field_validator("messages")
    @classmethod
    def _system_first(cls, messages: list[Message]) -> list[Message]:
        leading = [message.role in ("system", "developer") for message in messages]
        if any(leading[1:]):
            raise ValueError("a system message can only be the first")
        return messages

    @property
    def answer_tokens(self) -> int | None:
        """Positions of the answer, where the client says how many."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


def read_request(body: bytes) -> ChatRequest:
    """The request in a body.

    Raises:
        RequestError: naming the first thing that is wrong with it.
    """
    try:
        return ChatRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise RequestError(f"{place}: {message}" if place else message, param=place or None) from error
