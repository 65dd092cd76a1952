"""The wheel is complete: built, installed beside no repository, and used from an empty folder.

uv builds and installs, without the network; the packages underneath are those of this environment.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
UV = os.environ.get("UV") or shutil.which("uv")  # whatever `uv run` starts is told where uv is
pytestmark = pytest.mark.skipif(UV is None, reason="uv builds and installs the wheel; `make test` brings it")


def run(*command: object, cwd: Path) -> str:
    """What a command prints, once it ended well. It knows neither this environment nor the repository."""
    foreign = {"VIRTUAL_ENV", "PYTHONPATH", "UV_PROJECT_ENVIRONMENT"}
    env = {name: value for name, value in os.environ.items() if name not in foreign}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}: {done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    options = ("--no-build-isolation", "--offline", "--quiet", "--python", sys.executable)
    run(UV, "build", "--wheel", *options, "--out-dir", out, ROOT, cwd=out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel, and sees the packages of this one, but no link to a repository."""
    place = tmp_path_factory.mktemp("elsewhere") / "env"
    run(UV, "venv", "--offline", "--quiet", "--python", sys.executable, place, cwd=place.parent)
    (packages,) = place.glob("lib/python*/site-packages")
    # A .pth file names folders to look in. Other .pth files in there, which link to this repository, do not count.
    (packages / "underneath.pth").write_text(sysconfig.get_path("purelib"))
    options = ("--no-deps", "--offline", "--quiet", "--python", place / "bin" / "python")
    run(UV, "pip", "install", *options, wheel, cwd=place.parent)
    return place


def test_every_file_of_the_packages_and_all_settings_travel(wheel: Path) -> None:
    expected = {
        f"{packed}/{path.relative_to(ROOT / folder)}"
        for folder, packed in (("llava", "llava"), ("shirg", "shirg"), ("configs", "llava/settings"))
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == expected | {"lavida_shirg_integration.py"}
    assert "llava/settings/train/shirg_x.yaml" in held


def test_settings_are_found_by_name_and_refused_at_once(environment: Path, tmp_path: Path) -> None:
    code = """
import json, sys
from llava.serve.train import settings_of
from llava.serve.options import build_parser
from llava.shipped import find_settings, settings_names
import llava
args = build_parser().parse_args(["train", "train/shirg_x"])
config = settings_of(args)
found = [llava.__file__, config.mixture, config.trainer["deepspeed"]]
found += [str(find_settings("configs/shirg_x_attention.yaml"))]
assert "torch" not in sys.modules
print(json.dumps([found, settings_names()]))
"""
    paths, names = json.loads(run(environment / "bin" / "python", "-c", code, cwd=tmp_path))
    assert all(Path(path).is_file() and Path(path).is_relative_to(environment) for path in paths)
    assert names == sorted(
        str(path.relative_to(ROOT / "configs").with_suffix("")) for path in (ROOT / "configs").rglob("*.yaml")
    )


def test_the_commands_run_in_an_empty_folder(environment: Path, tmp_path: Path) -> None:
    """Read a page, train two steps by the name of shipped settings, and merge what came out."""
    page = ROOT / "llava" / "assets" / "typed" / "doc_page_0.png"
    changes = ["trainer.max_steps=2", "trainer.save_steps=2", "trainer.per_device_train_batch_size=1"]
    changes += ["trainer.dataloader_num_workers=0", "trainer.dataloader_prefetch_factor=null", "pages.questions=1"]
    changes += ["trainable={scope: shirg_x}", "losses={coordinate: 0, budget: 0, relevance: 0}"]
    changes += ["trainer.eval_strategy=no", "validation=null", "validation_budgets=[]"]
    commands = [
        ["ask", str(page), "What is the code?", "--heatmap", "kept.png", "--tokens", "4", "--json"],
        ["train", "small/typed_3_answer", "--model", "lavida-small", "--out", "run", "--set", *changes],
        ["merge-adapter", "run/final", "--out", "merged"],
        ["info", "merged", "--json"],
    ]
    code = "import json, sys; from llava.serve.cli import main; sys.exit(any(map(main, json.loads(sys.argv[1]))))"
    version = run(environment / "bin" / "lavida", "--version", cwd=tmp_path)
    assert version.startswith("lavida ")
    printed = run(environment / "bin" / "python", "-c", code, json.dumps(commands), cwd=tmp_path)
    answer, *_, facts = printed.splitlines()
    assert json.loads(answer)["model"].startswith(str(environment))
    assert json.loads(facts)["model"] == "merged"
    assert {path.name for path in tmp_path.iterdir()} >= {"kept.png", "run", "merged"}
