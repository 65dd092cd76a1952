"""``lavida serve`` as a person starts and stops it."""

import json
import os
import signal
import socket
import threading
import time
from http.client import HTTPConnection
from pathlib import Path

import pytest

from llava.serve.cli import main
from tests.server_helpers import ask, image_part, picture, user

KEY = "k3y-of-sixteen-or-more"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(quick: Path, tmp_path: Path, ending: int, capsys) -> None:
    """In this process, whose own handlers are there again afterwards."""
    keys = tmp_path / "keys.txt"
    keys.write_text(f"# mine\n{KEY}\n")
    port = free_port()
    seen: list[object] = []

    def use() -> None:
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        for _ in range(3000):
            try:
                connection = HTTPConnection("127.0.0.1", port, timeout=60)
                connection.request("GET", "/ready")
                if connection.getresponse().read():
                    break
            except OSError:
                time.sleep(0.02)
        body = json.dumps(ask(user(image_part(picture(1)), "who?"), max_tokens=3) | {"model": "mine"})
        connection.request("POST", "/v1/chat/completions", body, headers)
        answer = connection.getresponse()
        seen.append((answer.status, json.loads(answer.read())["model"]))
        connection.close()
        os.kill(os.getpid(), ending)

    before = signal.getsignal(signal.SIGTERM)
    user_thread = threading.Thread(target=use)
    user_thread.start()
    words = ["serve", "--no-page", "--port", str(port), "--model", str(quick), "--name", "mine"]
    code = main([*words, "--api-key-file", str(keys), "--device", "cpu"])
    user_thread.join(60)
    assert code == (0 if ending == signal.SIGTERM else 130)
    assert seen == [(200, "mine")]
    assert f"mine answers at http://127.0.0.1:{port}/v1" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--host", "0.0.0.0"], "give --api-key-file, or listen on 127.0.0.1"),
        (["--api-key-file", "nowhere.txt"], "nowhere.txt"),
        (["--port", "70000"], "must be a number from 0 to 65535"),
        (["--queue", "0"], "must be a whole number of at least 1"),
        (["--deadline-seconds", "-1"], "--deadline-seconds must be a number above 0"),
        (["--page-seconds", "0"], "--page-seconds"),
        (["--model", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_served_is_one_line(words, message, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["serve", "--no-page", *words]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_a_port_that_is_taken_is_told_before_a_model_is_loaded(capsys, monkeypatch) -> None:
    def loaded(*args: object, **kwargs: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("llava.serve.serve.load_session", loaded)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert main(["serve", "--no-page", "--port", str(listener.getsockname()[1])]) == 2
    assert "choose another --port" in capsys.readouterr().err
