"""The options of ``lavida serve``."""

import argparse

from llava.serve.option_groups import add_model, add_selection
from llava.serve.parser import add_command, positive

SERVE_EXAMPLES = """\
examples:
  lavida serve
  lavida serve --model jacklishufan/lavida-llada-v1.0-instruct --dtype bfloat16
  lavida serve --host 0.0.0.0 --api-key-file keys.txt --no-page
  lavida serve --allow-host pages.example.org

Clients of OpenAI's API find it at http://127.0.0.1:8000/v1, browsers at
http://127.0.0.1:8000. Only this machine is listened to unless --host and
--api-key-file say otherwise. SIGTERM and Ctrl-C finish what runs."""


def add_serve(commands: argparse._SubParsersAction) -> None:
    """``lavida serve``."""
    serve = add_command(commands, "serve", "answer over HTTP, for OpenAI's clients and for browsers", SERVE_EXAMPLES)
    door = serve.add_argument_group("where and for whom")
    door.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    door.add_argument("--port", metavar="N", type=_port, default=8000, help="0 takes a free one (default: 8000)")
    door.add_argument(
        "--api-key-file", metavar="FILE", help="keys, one a line, that requests must bring; needed beyond loopback"
    )
    door.add_argument("--name", help="what clients call the model (default: its directory's or its hub name)")
    door.add_argument("--no-page", action="store_true", help="no web page, which is all that Gradio is needed for")
    door.add_argument(
        "--stock",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="load LaViDa's own encoding too, for the web page to compare with (default: for the bundled model)",
    )
    limits = serve.add_argument_group("limits of a request")
    for name, kind, default, what in (
        ("body-megabytes", float, "20", "MiB of all that is sent"),
        ("images", positive, "8", "pages"),
        ("megapixels", float, "40", "million pixels of all pages"),
        ("characters", positive, "20000", "characters of all texts"),
        ("answer-tokens", positive, "512", "length of the answer"),
        ("deadline-seconds", float, "120", "time for the answer"),
        ("page-seconds", float, "20", "time for drawing a page of a PDF or TIFF"),
        ("page-megabytes", float, "1024", "memory for it, in MiB"),
        ("remote-seconds", float, "10", "time for fetching a page"),
    ):
        limits.add_argument(f"--{name}", metavar="N", type=kind, help=f"{what} (default: {default})")
    limits.add_argument(
        "--allow-host",
        dest="allowed_hosts",
        metavar="HOST",
        action="append",
        default=[],
        help="fetch pages from https://HOST; may be given several times (default: nothing is fetched)",
    )
    load = serve.add_argument_group("load")
    for name, kind, default, what in (
        ("queue", positive, "64", "requests that may wait; others get status 429"),
        ("batch", positive, "32", "requests that are denoised together"),
        ("cache-megabytes", float, "512", "MiB of encoded pages that are kept"),
        ("shutdown-seconds", float, "120", "time for running requests once the server is told to stop"),
    ):
        load.add_argument(f"--{name}", metavar="N", type=kind, help=f"{what} (default: {default})")
    add_model(serve)
    add_selection(serve, optional=True)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 65535, got {text!r}")
    return int(text)
