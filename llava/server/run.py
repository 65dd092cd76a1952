"""Starting and stopping the server."""

import logging
import socket

import uvicorn

from llava.server.config import ServerConfig
from llava.server.guard import App

_BACKLOG = 2048
"""Connections that may wait to be taken."""


def make_server(app: App, config: ServerConfig) -> uvicorn.Server:
    """A server that is not running yet; ``run()`` does so until SIGTERM or Ctrl-C, and then finishes what runs."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=config.host,
            port=config.port,
            lifespan="on",
            http="h11",
            log_config=None,
            access_log=False,
            server_header=False,
            # Whatever comes beyond the queue is answered by the application, in the shape that clients know.
            limit_concurrency=4 * config.queue + 64,
            timeout_graceful_shutdown=int(config.shutdown_seconds) or 1,
            h11_max_incomplete_event_size=2**16,
            ws="none",
            proxy_headers=False,
        )
    )


def listen(config: ServerConfig) -> socket.socket:
    """The socket to serve on, so that a port that is taken is told before a model is loaded.

    Raises:
        OSError: naming the address.
    """
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
        # From here on nobody else can listen there, and who comes early waits.
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise OSError(f"nothing can listen on {config.host}:{config.port} ({reason}); choose another --port") from error
    return listener


def quiet_libraries() -> None:
    """uvicorn's own messages go where this program's go, from warnings on."""
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
