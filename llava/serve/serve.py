"""``lavida serve``: the endpoint and the web page, until it is told to stop."""

from __future__ import annotations

import argparse
import importlib
import signal
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from llava.inference.checkpoint import BUNDLED_MODEL, Checkpoint
from llava.serve.display import note
from llava.serve.requests import checkpoint_of, limits_of, load_session
from llava.server.config import ServerConfig, read_keys

if TYPE_CHECKING:
    from llava.inference.session import Session
    from llava.server.guard import App

_GIVEN = (
    *("body_megabytes", "images", "megapixels", "characters", "answer_tokens", "deadline_seconds", "remote_seconds"),
    *("queue", "batch", "cache_megabytes", "shutdown_seconds"),
)
"""Options that are fields of ``ServerConfig``."""


def run(args: argparse.Namespace) -> None:
    """Serve until SIGTERM or Ctrl-C, and finish what runs.

    Raises:
        FileNotFoundError, ValueError, OSError: for options, a model or an address that cannot be used.
    """
    config = config_of(args)
    _check_installed(page=not args.no_page)
    from llava.server.run import listen, make_server, quiet_libraries

    checkpoint = checkpoint_of(args)
    listener = listen(config)
    try:
        session = load_session(args, checkpoint)
        app = build(args, config, checkpoint, session)
        quiet_libraries()
        # uvicorn finishes what runs, and then sends itself the signal that it caught.
        before = signal.signal(signal.SIGTERM, lambda *_: None)
        try:
            address = address_of(listener)
            page = "" if args.no_page else f"; the web page is {address}"
            note(f"{config.model_name} answers at {address}/v1{page}")
            make_server(app, config).run(sockets=[listener])
        finally:
            signal.signal(signal.SIGTERM, before)
    finally:
        listener.close()


def _check_installed(*, page: bool) -> None:
    """Find out what is missing before a model is loaded.

    Raises:
        ValueError: naming what to install.
    """
    extra, hint = "endpoint", ""
    try:
        for name in ("fastapi", "prometheus_client", "uvicorn"):
            importlib.import_module(name)
        if page:
            extra, hint = "serve", ", or leave the web page out with --no-page"
            importlib.import_module("gradio")
    except ModuleNotFoundError as error:
        raise ValueError(f"{error}; install it with: pip install 'lavida-shirg[{extra}]'{hint}") from error


def build(args: argparse.Namespace, config: ServerConfig, checkpoint: Checkpoint, session: Session) -> App:
    """The application over a loaded model, with the web page unless it is left out."""
    from llava.server.app import build_app
    from llava.server.engine import Engine
    from llava.server.metrics import Metrics

    if args.no_page:
        return build_app(Engine(session, config, Metrics()))
    from llava.server.page import mount_page

    stock = None
    if session.handle is not None and (args.model is None if args.stock is None else args.stock):
        plain = Checkpoint.resolve(checkpoint.model, revision=checkpoint.revision, changes={"mode": "stock"})
        stock = load_session(args, plain)
    return build_app(Engine(session, config, Metrics(), stock=stock), partial(mount_page, config=config))


def config_of(args: argparse.Namespace) -> ServerConfig:
    """The server's settings.

    Raises:
        FileNotFoundError: if there is no file of keys.
        ValueError: naming the option that is wrong.
    """
    given = {name: getattr(args, name) for name in _GIVEN}
    keys: tuple[str, ...] = ()
    if args.api_key_file is not None:
        try:
            keys = read_keys(Path(args.api_key_file).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"--api-key-file {args.api_key_file}: {error}") from error
    model = str(BUNDLED_MODEL) if args.model is None else args.model
    name = args.name or (Path(model).expanduser().resolve().name if Path(model).expanduser().is_dir() else model)
    try:
        return ServerConfig(
            host=args.host,
            port=args.port,
            api_keys=keys,
            model_name=name,
            page_limits=limits_of(args),
            allowed_hosts=frozenset(args.allowed_hosts),
            **{name: value for name, value in given.items() if value is not None},
        )
    except ValueError as error:
        name, space, rest = str(error).partition(" ")
        raise ValueError(f"--{name.replace('_', '-')}{space}{rest}" if name in _GIVEN else str(error)) from error


def address_of(listener: socket.socket) -> str:
    """Where a listener is found by a browser."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
