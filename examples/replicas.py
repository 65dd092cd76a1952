"""The endpoint of `lavida serve` on several replicas behind Ray Serve: one address, and a model in every replica.

    pip install 'lavida-shirg[endpoint]' 'ray[serve]'
    python examples/replicas.py --replicas 2
    python examples/replicas.py --replicas 8 --gpus 1 --model jacklishufan/lavida-llada-v1.0-instruct --dtype bfloat16

All other options are those of `lavida serve`. Ray starts on this machine unless RAY_ADDRESS names a cluster, spreads
requests over the replicas, and starts one anew that died. Each replica has its own batches, queue and cached pages; its
name comes back as `x-replica`. Ctrl-C and SIGTERM let what runs finish.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from typing import Any

from ray import serve

from llava.serve.options import build_parser as build_lavida_parser
from llava.serve.parser import Parser, positive
from llava.serve.requests import checkpoint_of, load_session
from llava.serve.serve import build, config_of
from llava.server.config import ServerConfig
from llava.server.guard import App, Receive, Scope, Send
from llava.server.run import listen


class Replica:
    """One replica's endpoint; made where it runs, since a loaded model does not travel."""

    def __init__(self, words: Sequence[str]) -> None:
        args = served(words)
        checkpoint = checkpoint_of(args)
        self.app: App = build(args, config_of(args), checkpoint, load_session(args, checkpoint))
        self.name = serve.get_replica_context().replica_id.unique_id.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def signed(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"x-replica", self.name)]}
            await send(message)

        await self.app(scope, receive, signed)


def served(words: Sequence[str]) -> argparse.Namespace:
    """The options of `lavida serve`, without its web page, whose sessions must not move between replicas."""
    return build_lavida_parser().parse_args(["serve", "--no-page", *words])


def deploy(config: ServerConfig, words: Sequence[str], *, replicas: int, gpus: float) -> serve.Application:
    """The application as Ray Serve takes it."""
    deployment = serve.deployment(
        serve.ingress(lambda: Replica(words))(),
        name="lavida",
        num_replicas=replicas,
        # Beyond these a replica answers 429 itself, in the shape that clients know.
        max_ongoing_requests=config.queue + 1,
        graceful_shutdown_timeout_s=config.shutdown_seconds,
        ray_actor_options={"num_cpus": 1, "num_gpus": gpus},
    )
    return deployment.bind()


def start(words: Sequence[str]) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        ValueError, OSError: for options, a model or an address that cannot be used, before anything starts.
    """
    args, words = build_parser().parse_known_args(words)
    options = served(words)
    config = config_of(options)
    checkpoint_of(options)
    listen(config).close()
    application = deploy(config, words, replicas=args.replicas, gpus=args.gpus)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        serve.start(http_options={"host": config.host, "port": config.port})
        serve.run(application, name="lavida", route_prefix="/")
        print(f"{args.replicas} replicas answer at http://{config.host}:{config.port}/v1", file=sys.stderr, flush=True)
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        serve.shutdown()


def build_parser() -> Parser:
    """The options that are not those of `lavida serve`."""
    parser = Parser(prog="replicas", description=__doc__)
    parser.add_argument("--replicas", metavar="N", type=positive, default=2, help="models that answer (default: 2)")
    parser.add_argument("--gpus", metavar="X", type=float, default=0, help="of each replica, 0.5 too (default: 0)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    try:
        start(sys.argv[1:] if arguments is None else arguments)
    except (ValueError, OSError) as error:
        print(f"replicas: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
