"""The command as a process of its own."""

import os
import subprocess
import sys
from typing import Any


def run_python(code: str, **settings: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", code], check=False, timeout=60, **settings)


def test_help_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'transformers', 'rich', 'PIL'}"
    code = f"import sys, llava.serve.cli as cli; cli.main([]); sys.exit(bool({heavy} & set(sys.modules)))"
    assert run_python(code, capture_output=True).returncode == 0


def test_a_reader_that_leaves_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code = """
import sys, types
from llava.serve import cli
command = types.SimpleNamespace(run=lambda args: print("answer"))
cli.importlib = types.SimpleNamespace(import_module=lambda name: command)
sys.exit(cli.main(["info"]))
"""
    done = run_python(code, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")
