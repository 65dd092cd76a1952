"""Checkpoint, adapter and settings resolved to one value, the same for everything that answers."""

from pathlib import Path

import pytest

from llava.eval.ablation import resolve_row, run_rows
from llava.eval.ablation_config import AblationConfig
from llava.inference.checkpoint import BUNDLED_MODEL, Checkpoint, read_checkpoint_config
from llava.inference.session import Session
from llava.model.builder import load_pretrained_model
from llava.tuning.adapter import save_adapter
from llava.tuning.config import TrainableConfig
from shirg.config import ShirgXConfig
from tests.adapter_helpers import train
from tests.cli_helpers import QUICK_SHIRG_X

TRAINED = ShirgXConfig(**QUICK_SHIRG_X, budget=32, similarity="learned", center_weight=0.3)


@pytest.fixture(scope="module")
def adapter(quick: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = TrainableConfig(scope="shirg_x", rank=3)
    model = load_pretrained_model(quick, device_map="cpu")[1]
    train(model, config, TRAINED)
    directory = tmp_path_factory.mktemp("adapters") / "quick"
    save_adapter(model, directory, config)
    return directory


def test_without_anything_it_is_the_bundled_model_with_its_own_settings() -> None:
    checkpoint = Checkpoint.resolve()
    assert checkpoint.names == {"model": str(BUNDLED_MODEL), "revision": None, "adapter": None}
    assert checkpoint.shirg == ShirgXConfig.from_dict(read_checkpoint_config(BUNDLED_MODEL).shirg_x)


def test_settings_come_from_the_file_else_the_adapter_else_the_checkpoint(
    quick: Path, adapter: Path, tmp_path: Path
) -> None:
    own = Checkpoint.resolve(quick).shirg
    assert own.center_weight != 0.3
    assert Checkpoint.resolve(quick, adapter=adapter).shirg == TRAINED
    file = tmp_path / "settings.yaml"
    file.write_text("center_weight: 0.7\n")
    for settings in (file, ShirgXConfig.from_yaml(file)):
        assert Checkpoint.resolve(quick, adapter=adapter, settings=settings).shirg.center_weight == 0.7
    changed = Checkpoint.resolve(quick, adapter=adapter, changes={"budget": 48}).shirg
    assert changed == TRAINED.replace(budget=48)


def test_an_adapter_trained_with_shirg_x_does_not_go_without(quick: Path, adapter: Path) -> None:
    assert Checkpoint.resolve(quick, changes={"mode": "stock"}).shirg == ShirgXConfig(mode="stock")
    with pytest.raises(ValueError, match="was trained with SHIRG-X"):
        Checkpoint.resolve(quick, adapter=adapter, changes={"mode": "stock"})
    with pytest.raises(ValueError, match="was trained with SHIRG-X"):
        Checkpoint.resolve(quick, adapter=adapter).encoding(ShirgXConfig(mode="stock"))


def test_a_loaded_session_has_what_was_resolved(quick: Path, adapter: Path) -> None:
    checkpoint = Checkpoint.resolve(quick, adapter=adapter, changes={"budget": 48})
    session = Session.open(checkpoint, device="cpu")
    assert session.handle is not None
    assert session.handle.config == checkpoint.shirg
    stock = Session.open(Checkpoint.resolve(quick, changes={"mode": "stock"}), device="cpu")
    assert stock.handle is None


def test_a_row_of_a_comparison_brings_its_adapter_s_settings_and_weights(
    quick: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {
        "out": str(tmp_path),
        "model": str(quick),
        "benchmarks": [{"name": "entitygrid", "style": "shapes", "split": "validation", "questions": 6}],
        "budgets": [32],
        "tokens": 3,
        "device": "cpu",
        "rows": [{"name": "base"}, {"name": "adapted", "adapter": str(adapter), "settings": {"merge": False}}],
    }
    config = AblationConfig.from_dict(values)
    assert resolve_row(config, config.rows[1])[0].shirg == TRAINED.replace(merge=False)
    opened: list[Session] = []
    decodings: list[int] = []
    original = Session.open.__func__  # type: ignore[attr-defined]
    denoise = type(Session.load(quick, device="cpu").model).denoise
    monkeypatch.setattr(
        Session, "open", classmethod(lambda cls, c, **k: opened.append(original(cls, c, **k)) or opened[-1])
    )
    monkeypatch.setattr(
        "llava.model.language_model.llava_llada.LlavaLladaForMaskedDiffusion.denoise",
        lambda self, prepared, decoding, **k: (
            decodings.append(decoding.max_new_tokens) or denoise(self, prepared, decoding, **k)
        ),
    )
    run_rows(config)
    base, adapted = (session.model.state_dict()["model.mm_projector.0.weight"] for session in opened)
    assert not base.equal(adapted)
    assert opened[1].handle is not None
    assert opened[1].handle.config.center_weight == 0.3
    assert set(decodings) == {3}
