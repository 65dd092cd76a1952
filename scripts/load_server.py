"""Load `lavida serve` on loopback: is each answer that of the request alone, how many more come, how long is the wait?

    python -m scripts.load_server --out docs/results/serve/load.json
    python -m scripts.load_server --requests 200 --clients 8 --model DIR --budget 512

A server is started in a process of its own. Every question about the bundled pages is asked once alone; those answers
count as right. Then they are asked by many clients at once, each of which asks its next question when the last is
answered; before and after that they are asked one behind the other for a while, so that a machine that grows slower or
faster meanwhile does so to both. Pages are encoded once, so that the two differ in nothing but company.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llava.files import write_json, write_text
from llava.serve.parser import Parser, positive
from scripts.entry import check_file, run

PAGES = Path(__file__).parent.parent / "llava" / "assets" / "typed"
_START_SECONDS = 600


@dataclass
class Memory:
    """What a process holds, looked at now and then."""

    pid: int
    megabytes: list[float] = field(default_factory=list)

    def look(self) -> None:
        """Resident MiB, as Linux tells."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                self.megabytes.append(int(line.split()[1]) / 1024)


def requests_for(model: str) -> list[bytes]:
    """One request for each question about the bundled pages."""
    bodies = []
    for entry in json.loads((PAGES / "pages.json").read_text()):
        data = base64.b64encode((PAGES / entry["image"]).read_bytes()).decode()
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
        content = [image, {"type": "text", "text": entry["question"]}]
        bodies.append(json.dumps({"model": model, "messages": [{"role": "user", "content": content}]}).encode())
    return bodies


class Client:
    """One connection that is kept."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def get(self, path: str) -> Any:
        """The JSON at a path."""
        self._connection.request("GET", path)
        return json.loads(self._connection.getresponse().read())

    def ask(self, body: bytes) -> tuple[str, float]:
        """The answer, and the seconds that it took.

        Raises:
            RuntimeError: if there is none.
        """
        start = time.perf_counter()
        self._connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        told = json.loads(response.read())
        if response.status != 200:
            raise RuntimeError(f"status {response.status}: {told}")
        return told["choices"][0]["message"]["content"], time.perf_counter() - start


@contextmanager
def server(words: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`lavida serve` in a process of its own, and its port; told to end as a system would."""
    command = [sys.executable, "-m", "llava.serve.cli", "serve", "--no-page", "--port", "0", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        line = ""
        end = time.monotonic() + _START_SECONDS
        while "answers at" not in line:
            said, line = line, process.stderr.readline()
            if not line or time.monotonic() > end:
                raise ValueError(f"the server did not start: {said.strip() or 'it says nothing'}")
        port = int(line.split("http://127.0.0.1:")[1].split("/")[0])
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield process, port
    finally:
        process.terminate()
        process.wait(120)


def measure(port: int, pid: int, *, clients: int, requests: int, alone: int) -> dict[str, Any]:
    """Ratios, seconds and MiB of one server."""
    with closing(Client(port)) as first:
        name = first.get("/v1/models")["data"][0]["id"]
        bodies = requests_for(name)
        expected = [first.ask(body)[0] for body in bodies]
        singles = [first.ask(bodies[turn % len(bodies)])[1] for turn in range(-(-alone // 2))]

    memory, lock = Memory(pid), threading.Lock()
    turns = iter(range(requests))
    seconds: list[float] = []
    wrong = 0

    def next_turn() -> int | None:
        with lock:
            turn = next(turns, None)
            if turn is not None and turn % max(1, requests // 20) == 0:
                memory.look()
            return turn

    def keep_asking() -> None:
        nonlocal wrong
        with closing(Client(port)) as client:
            while (turn := next_turn()) is not None:
                # Neighbors in time ask about different pages.
                place = 7 * turn % len(bodies)
                answer, taken = client.ask(bodies[place])
                with lock:
                    seconds.append(taken)
                    wrong += answer != expected[place]

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(keep_asking) for _ in range(clients)]:
            done.result()
    rate = requests / (time.perf_counter() - start)
    memory.look()
    with closing(Client(port)) as last:  # an idle connection would have been ended by the server meanwhile
        singles += [last.ask(bodies[turn % len(bodies)])[1] for turn in range(len(singles), alone)]
    alone_rate = alone / sum(singles)
    settled = memory.megabytes[len(memory.megabytes) // 4 :]
    return {
        "model": name,
        "clients": clients,
        "requests": requests,
        "wrong": wrong,
        "throughput_ratio": rate / alone_rate,
        "alone": {"requests": alone, "per_second": alone_rate, **quantiles(singles)},
        "together": {"per_second": rate, **quantiles(seconds)},
        "p50_ratio": quantiles(seconds)["p50"] / quantiles(singles)["p50"],
        "p99_ratio": quantiles(seconds)["p99"] / quantiles(singles)["p50"],
        "memory_mib": [round(value, 1) for value in memory.megabytes],
        "memory_growth": settled[-1] / settled[0],
    }


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """The median and the 99th percentile."""
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"p50": cuts[49], "p99": cuts[98]}


def table(found: dict[str, Any]) -> str:
    """The numbers as a page."""
    alone, together = found["alone"], found["together"]
    about = found["provenance"]
    rows = [
        ("answers a second, against one at a time", f"{found['throughput_ratio']:.2f}"),
        ("median wait, against alone", f"{found['p50_ratio']:.1f}"),
        ("99th percentile, against the median alone", f"{found['p99_ratio']:.1f}"),
        ("median wait alone, seconds", f"{alone['p50']:.2f}"),
        ("median wait together, seconds", f"{together['p50']:.2f}"),
        ("99th percentile together, seconds", f"{together['p99']:.2f}"),
        ("memory at the end over memory after the first quarter", f"{found['memory_growth']:.3f}"),
        ("answers that differ from the one alone", f"{found['wrong']} of {found['requests']}"),
    ]
    lines = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return (
        f"# Load of the server\n\n`{found['command']}`\n\n"
        f"| {found['clients']} clients, {found['model']} | |\n| --- | ---: |\n{lines}\n\n"
        f"{about['device']}, {about['threads']} threads, commit {about['commit']}. {found['note']}\n"
    )


def build_parser() -> Parser:
    parser = Parser(prog="load_server", description=__doc__)
    parser.add_argument("--model", metavar="DIR|HUB_ID", help="checkpoint (default: the bundled one)")
    parser.add_argument("--budget", metavar="K", type=positive, help="detail tokens (default: what the settings say)")
    parser.add_argument("--clients", metavar="N", type=positive, default=32, help="at once (default: 32)")
    parser.add_argument("--requests", metavar="N", type=positive, default=2000, help="in all (default: 2000)")
    parser.add_argument("--alone", metavar="N", type=positive, default=60, help="one at a time (default: 60)")
    parser.add_argument("--note", default="", help="what has to be said of the machine")
    parser.add_argument("--out", metavar="FILE.json", type=Path, help="write the numbers, and a table beside them")
    return parser


def measure_and_tell(args: argparse.Namespace) -> None:
    """Load a server, and print or write what was found."""
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        check_file(args.out)
    options = {"--model": args.model, "--budget": args.budget}
    words = [str(word) for option in options.items() if option[1] is not None for word in option]
    with server(words) as (process, port):
        found = measure(port, process.pid, clients=args.clients, requests=args.requests, alone=args.alone)

    import torch

    from llava.provenance import provenance

    given = {**options, "--clients": args.clients, "--requests": args.requests, "--alone": args.alone}
    told = " ".join(f"{name} {value}" for name, value in given.items() if value is not None)
    found = {
        "command": f"python -m scripts.load_server {told}",
        "note": args.note,
        "provenance": provenance(torch.device("cpu")),
        **found,
    }
    print(table(found))
    if args.out is not None:
        write_json(found, args.out)
        write_text(table(found), args.out.with_suffix(".md"))


def main(arguments: list[str] | None = None) -> int:
    return run(build_parser(), measure_and_tell, arguments)


if __name__ == "__main__":
    sys.exit(main())
