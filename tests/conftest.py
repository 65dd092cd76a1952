"""Fixtures shared by all tests: a fixed seed, recorded outputs, and small checkpoints in the released format."""

import json
import runpy
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings

from llava.inference.session import Session
from llava.model.builder import Loaded, load_pretrained_model
from llava.model.language_model.llava_llada import LlavaLladaForMaskedDiffusion
from llava.serve.cli import main
from llava.tuning.adapter import save_adapter
from llava.tuning.config import TrainableConfig
from tests.adapter_helpers import fresh, logits, train
from tests.cli_helpers import Call, quick_checkpoint, write_page

PARITY = Path(__file__).parent / "fixtures" / "parity"
DREAM_PARITY = Path(__file__).parent / "fixtures" / "parity_dream"


# Fewer examples than hypothesis takes by itself: they are run often, and ``make fuzz`` takes many.
settings.register_profile("short", max_examples=40, deadline=None)
settings.load_profile("short")


def pytest_configure() -> None:
    # Jobs in the background of a shell ignore Ctrl-C, and so would every program that a test starts and interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Small models lose more to waiting threads than they gain, above all when tests share their cores.
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def goldens() -> dict[str, Any]:
    """What the public LaViDa code returns for the tiny model; see tests/fixtures/parity/README.md."""
    return json.loads((PARITY / "goldens.json").read_text())


@pytest.fixture(scope="session")
def golden_arrays() -> dict[str, np.ndarray]:
    with np.load(PARITY / "goldens.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def dream_goldens() -> dict[str, Any]:
    """The same of LaViDa's second backbone; see tests/fixtures/parity_dream/README.md."""
    return json.loads((DREAM_PARITY / "goldens.json").read_text())


def _make_checkpoint(out: Path, *options: str, recordings: Path = PARITY) -> Path:
    """Run the script that lies beside the recordings, in this process: a new one would import torch once more."""
    words = ["make_checkpoint.py", str(recordings / "goldens.json"), str(out), *options]
    with pytest.MonkeyPatch.context() as patched, torch.random.fork_rng():
        patched.syspath_prepend(str(PARITY))
        patched.setattr(sys, "argv", words)
        runpy.run_path(str(recordings / words[0]), run_name="__main__")
    sys.modules.pop("fill", None)
    return next(out.glob("lavida-*-tiny"))


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in the released format, with a small SigLIP repository beside it. Copy it before changing it."""
    return _make_checkpoint(tmp_path_factory.mktemp("tiny"), "--key", "config")


@pytest.fixture(scope="session")
def tiny_dream_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As ``tiny_checkpoint``, with Dream for a language model."""
    return _make_checkpoint(tmp_path_factory.mktemp("dream"), recordings=DREAM_PARITY)


@pytest.fixture(scope="session")
def dream_loaded(tiny_dream_checkpoint: Path) -> Loaded:
    """As ``loaded``, of the tiny Dream checkpoint."""
    return load_pretrained_model(tiny_dream_checkpoint, device_map="cpu")


@pytest.fixture(scope="session")
def loaded(tiny_checkpoint: Path) -> Loaded:
    """(tokenizer, model, image processor, context length) of the tiny checkpoint; leave the model as it is."""
    return load_pretrained_model(tiny_checkpoint, device_map="cpu")


@pytest.fixture(scope="session")
def tiny_train_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the released vocabulary and ids, as the recorded training losses need it."""
    return _make_checkpoint(tmp_path_factory.mktemp("train"), "--key", "train_config")


@pytest.fixture(scope="module")
def quick(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quick_checkpoint(tiny_checkpoint, tmp_path_factory.mktemp("quick") / "all")


@pytest.fixture(scope="module")
def session(quick: Path) -> Session:
    return Session.load(quick, device="cpu")


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return write_page(tmp_path / "page.png")


@pytest.fixture
def call(quick: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command with the quick model; returns stdout and stderr of a success."""

    def run(command: str, *words: str | Path) -> tuple[str, str]:
        code = main([command, *map(str, words), *([] if command == "info" else ["--model", str(quick)])])
        out, err = capsys.readouterr()
        assert code == 0, err
        return out, err

    return run


@pytest.fixture
def tower_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of every way into the vision tower that is taken."""
    from llava.model.multimodal_encoder.siglip_encoder import SigLipVisionTower

    calls: list[str] = []
    for name in ("forward", "extract_shirg_x_tokens"):
        original = getattr(SigLipVisionTower, name)

        def counted(self: Any, *args: Any, _name: str = name, _original: Any = original, **kwargs: Any) -> Any:
            calls.append(_name)
            return _original(self, *args, **kwargs)

        monkeypatch.setattr(SigLipVisionTower, name, counted)
    return calls


@pytest.fixture(scope="session")
def expanded(tiny_checkpoint, tmp_path_factory) -> tuple[Path, torch.Tensor]:
    """An adapter of the widest scope, and the logits of the model it was saved from. Copy it before changing it."""
    loaded, config = fresh(tiny_checkpoint), TrainableConfig(scope="shirg_x_expanded", rank=3, coord_rank=2)
    torch.manual_seed(2)
    train(loaded[1], config)
    directory = tmp_path_factory.mktemp("adapter") / "expanded"
    save_adapter(loaded[1], directory, config)
    return directory, logits(loaded, loaded[1])


@pytest.fixture
def copied(expanded, tmp_path) -> Path:
    shutil.copytree(expanded[0], tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.fixture(scope="session")
def patchable(tiny_checkpoint: Path) -> Loaded:
    """As ``loaded``, with the vision layers that scoring by attention needs."""
    return load_pretrained_model(tiny_checkpoint, device_map="cpu", vision_kwargs={"keep_all_layers": True})


@pytest.fixture
def model(patchable: Loaded) -> Iterator[LlavaLladaForMaskedDiffusion]:
    """The shared patchable model; every test must leave it as it found it."""
    model = patchable[1]
    keys = set(model.state_dict())
    yield model
    assert set(model.state_dict()) == keys
    assert "encode_images" not in vars(model)
