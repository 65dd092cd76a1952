"""From a request to what the engine is asked."""

from llava.inference.decoding import DECODINGS, find_decoding
from llava.server.config import ServerConfig
from llava.server.errors import RequestError
from llava.server.files import Fetch, PageFile, read_url
from llava.server.jobs import Asked, AskedTurn
from llava.server.schema import ChatRequest, FilePart, ImagePart, Message, TextPart

_DEFAULT_TOKENS = DECODINGS["fast"].max_new_tokens


def read_dialog(request: ChatRequest, config: ServerConfig, fetch: Fetch | None) -> Asked:
    """What a request asks, its pages decoded to bytes and not yet drawn.

    Args:
        fetch: gives the bytes behind an address; None where nothing is fetched.

    Raises:
        RequestError: if it asks for another model, for more than the server gives, or shows a page that is none.
    """
    if request.model != config.model_name:
        raise RequestError(
            f"the model {request.model!r} does not exist here; use {config.model_name!r}",
            status=404,
            code="model_not_found",
            param="model",
        )
    _check_sizes(request, config)
    system = None
    turns = []
    pages = 0
    for message in request.messages:
        if message.role in ("system", "developer"):
            system = _words_only(message)
            continue
        parts: list[str | PageFile] = []
        for part in message.parts:
            if isinstance(part, TextPart):
                parts.append(part.text)
                continue
            pages += 1
            parts.append(_read_part(part, f"image {pages}", fetch))
        if message.role == "assistant":
            _words_only(message)
        turn = AskedTurn(role="user" if message.role == "user" else "assistant", parts=tuple(parts))
        if not turn.files and not turn.words:
            raise RequestError(f"a message of the {turn.role} is empty; leave it out", param="messages")
        turns.append(turn)
    try:
        decoding = find_decoding(
            request.decoding or "fast",
            max_new_tokens=request.answer_tokens or min(_DEFAULT_TOKENS, config.answer_tokens),
            temperature=request.temperature or 0.0,
        )
    except ValueError as error:
        raise RequestError(str(error)) from error
    return Asked(
        turns=tuple(turns),
        system=system,
        decoding=decoding,
        seed=request.seed or 0,
        streams=bool(request.stream),
    )


def _check_sizes(request: ChatRequest, config: ServerConfig) -> None:
    parts = [part for message in request.messages for part in message.parts]
    images = sum(not isinstance(part, TextPart) for part in parts)
    if images > config.images:
        raise RequestError(
            f"{images} images are more than the {config.images} of a request; ask about fewer at once",
            code="too_many_images",
            param="messages",
        )
    characters = sum(len(part.text) for part in parts if isinstance(part, TextPart))
    if characters > config.characters:
        raise RequestError(
            f"{characters:,} characters of text are more than the {config.characters:,} of a request; shorten them",
            code="text_too_long",
            param="messages",
        )
    if (request.answer_tokens or 0) > config.answer_tokens:
        raise RequestError(
            f"{request.answer_tokens} answer tokens are more than the {config.answer_tokens} that this server gives; "
            "ask for fewer",
            code="too_many_tokens",
            param="max_completion_tokens" if request.max_completion_tokens else "max_tokens",
        )


def _words_only(message: Message) -> str:
    if not all(isinstance(part, TextPart) for part in message.parts):
        raise RequestError(
            f"a message of the {message.role} holds words only; put pages into the user's", param="messages"
        )
    return "\n".join(part.text.strip() for part in message.parts if isinstance(part, TextPart))


def _read_part(part: ImagePart | FilePart, name: str, fetch: Fetch | None) -> PageFile:
    if isinstance(part, ImagePart):
        return read_url(part.image_url.url, name, part.image_url.page, fetch)
    data = part.file.file_data
    # OpenAI's clients send either a data URL or plain base64.
    url = data if data[:5].lower() == "data:" else f"data:application/pdf;base64,{data}"
    return read_url(url, name, part.file.page, None)
