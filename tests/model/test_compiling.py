"""Compiled layers: one graph without breaks for each kind of layer, and the answers of layers as they are written."""

import copy
import shutil

import pytest
import torch

from llava.mm_utils import process_images
from llava.model import compiling
from llava.model.compiling import compile_layers, forget_compiled
from llava.model.language_model.diffusion.decoding import DecodingConfig
from tests.model.test_generate import MASK, prompt
from tests.model.test_parity import block_image

SETTINGS = DecodingConfig(max_new_tokens=6, prefix_lm=True)


def answers(loaded, lengths):
    """For one prompt of each length, with a page before the words."""
    _, model, processor, _ = loaded
    image = block_image(90, 70, 1)
    views = process_images([image], processor, model.config)
    return [
        model.generate(prompt(length, length, images=1), views, [image.size], decoding=SETTINGS, mask_id=MASK)
        for length in lengths
    ]


@pytest.mark.parametrize("backbone", ["loaded", "dream_loaded"])
def test_layers_of_a_kind_share_one_graph_for_prompts_of_all_lengths(request, backbone):
    """``fullgraph`` refuses what cannot be traced in one piece."""
    tokenizer, model, processor, length = request.getfixturevalue(backbone)
    model = copy.deepcopy(model)
    loaded = (tokenizer, model, processor, length)
    expected = answers(loaded, (5, 7, 11))
    names, graphs = set(model.state_dict()), []

    def counting(graph, _):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    compile_layers(model, backend=counting, fullgraph=True)
    first = answers(loaded, (5,))
    compiled = len(graphs)
    # A layer of the tower, and one of the language model at a prompt and at an answer.
    assert compiled == 3
    later = answers(loaded, (7, 11))
    assert len(graphs) == compiled
    assert all(torch.equal(found, plain) for found, plain in zip([*first, *later], expected, strict=True))
    assert set(model.state_dict()) == names
    forget_compiled(model)
    torch._dynamo.reset()
    assert torch.equal(answers(loaded, (5,))[0], expected[0])
    assert len(graphs) == compiled


def test_a_machine_without_a_compiler_says_so(loaded, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="needs a C\\+\\+ compiler"):
        compile_layers(loaded[1])
    monkeypatch.setattr(compiling, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs triton"):
        compiling._check_compiler("cuda")
