"""A session's optimizations: what is asked for is done to the model, and nothing else."""

import pytest
import torch

from llava.inference.optimizations import Optimizations
from llava.inference.session import Session
from llava.model import compiling


def test_rounded_weights_answer_and_compiled_layers_wait(quick, page, monkeypatch):
    asked = []
    monkeypatch.setattr(compiling, "compile_layers", asked.append)
    plain = Session.load(quick, device="cpu")
    assert not asked
    session = Session.load(quick, device="cpu", optimizations=Optimizations(weights="int8", compile=True))
    assert asked == [session.model]
    kinds = {each.dtype for each in session.model.model.blocks[0].parameters()}
    assert kinds == {torch.float32, torch.int8}
    assert {each.dtype for each in plain.model.parameters()} == {torch.float32}
    assert session.ask(page, "What is red?").forwards >= 1


def test_an_unknown_kind_of_weights_is_refused():
    with pytest.raises(ValueError, match="weights 'int4' do not exist; use one of loaded, int8"):
        Optimizations(weights="int4")


def test_the_command_line_has_both(call, page, monkeypatch):
    asked = []
    monkeypatch.setattr(compiling, "compile_layers", asked.append)
    out, err = call("ask", page, "What is red?", "--weights", "int8", "--compile")
    assert out.strip()
    assert "compiled while the first page and answer are computed" in err
    assert len(asked) == 1
    assert not asked[0].full_precision
