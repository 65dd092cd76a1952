"""Muon against a twin in float64, AdamW against torch's, and what each of them moves."""

from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from llava.train.muon import Muon, make_optimizer, orthogonalized


def newton_schulz_by_hand(matrix: torch.Tensor) -> torch.Tensor:
    """Five steps of p(x) = 3.4445 x - 4.775 x^3 + 2.0315 x^5 on the singular values, by their decomposition."""
    u, s, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    s = s / s.square().sum().sqrt()
    for _ in range(5):
        s = 3.4445 * s - 4.775 * s**3 + 2.0315 * s**5
    return u @ s.diag() @ v


@pytest.mark.parametrize("shape", [(5, 11), (11, 5), (7, 7), (1, 13), (13, 1)])
def test_it_is_the_step_on_singular_values(shape):
    matrix = torch.randn(shape) * 3.7
    torch.testing.assert_close(orthogonalized(matrix).double(), newton_schulz_by_hand(matrix), rtol=1e-4, atol=1e-4)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    rows=st.integers(2, 13),
    columns=st.integers(2, 13),
    scale=st.sampled_from([1e-4, 1.0, 1e4]),
    seed=st.integers(0, 99),
)
def test_singular_values_come_near_one_whatever_the_scale(rows, columns, scale, seed):
    """Unless they are a thousandth of the others', which five steps do not lift."""
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * scale
    values = torch.linalg.svdvals(matrix)
    found = torch.linalg.svdvals(orthogonalized(matrix))
    assert found.max() < 1.25
    assert (found[values > 0.05 * values.norm()] > 0.65).all()


def test_it_keeps_the_type_of_its_matrix_and_nothing_stays_nothing():
    assert orthogonalized(torch.randn(3, 5, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert (orthogonalized(torch.zeros(3, 5)) == 0).all()


@pytest.mark.parametrize("shape", [(5, 11), (11, 5)])
def test_steps_follow_the_momentum_and_tall_matrices_move_further(shape):
    """Nesterov's momentum and the factor of Jordan's Muon: the root of rows over columns, where that is above 1."""
    parameter = nn.Parameter(torch.randn(shape))
    optimizer = Muon([{"params": [parameter], "lr": 0.03, "muon": True, "weight_decay": 0.2}], momentum=0.9)
    expected, momentum = parameter.detach().double().clone(), torch.zeros(shape, dtype=torch.float64)
    for _ in range(4):
        gradient = torch.randn(shape)
        parameter.grad = gradient.clone()
        optimizer.step()
        assert torch.equal(parameter.grad, gradient)
        momentum = 0.9 * momentum + 0.1 * gradient.double()
        ahead = 0.1 * gradient.double() + 0.9 * momentum
        expected = expected * (1 - 0.03 * 0.2)
        expected = expected - 0.03 * max(1, shape[0] / shape[1]) ** 0.5 * newton_schulz_by_hand(ahead)
        torch.testing.assert_close(parameter.detach().double(), expected, rtol=1e-4, atol=1e-4)


def test_it_agrees_with_torch_but_for_bfloat16():
    mine, theirs = (nn.Parameter(torch.linspace(-1, 1, 77).reshape(7, 11).sin()) for _ in range(2))
    own = Muon([{"params": [mine], "lr": 0.1, "muon": True}])
    reference = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.0, momentum=0.95, nesterov=True)
    for _ in range(3):
        mine.grad = torch.randn(7, 11)
        theirs.grad = mine.grad.clone()
        own.step()
        reference.step()
    torch.testing.assert_close(mine, theirs, rtol=0, atol=6e-3)


def test_other_groups_take_adamw_s_steps():
    shapes = [(3, 5), (7,), (2, 3, 5)]
    mine = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [nn.Parameter(parameter.detach().clone()) for parameter in mine]
    own = Muon([{"params": mine, "lr": 0.01, "weight_decay": 0.3}], betas=(0.8, 0.97), eps=1e-6)
    reference = torch.optim.AdamW(theirs, lr=0.01, weight_decay=0.3, betas=(0.8, 0.97), eps=1e-6)
    for _ in range(5):
        for first, second in zip(mine, theirs, strict=True):
            first.grad = torch.randn(first.shape)
            second.grad = first.grad.clone()
        own.step()
        reference.step()
    torch.testing.assert_close(mine, theirs)


def test_what_has_no_gradient_stays_and_only_matrices_are_taken():
    still, moved, vector = nn.Parameter(torch.ones(3, 5)), nn.Parameter(torch.ones(3, 5)), nn.Parameter(torch.ones(7))
    optimizer = Muon([{"params": [still, moved], "lr": 0.1, "muon": True}, {"params": [vector], "lr": 0.1}])

    def closure() -> float:
        moved.grad = torch.randn(3, 5)
        return 7.0

    assert optimizer.step(closure) == 7.0
    assert (still == 1).all()
    assert not (moved == 1).all()
    assert (vector == 1).all()
    with pytest.raises(ValueError, match="Muon moves matrices only"):
        Muon([{"params": [vector], "lr": 0.1, "muon": True}])


def test_a_state_that_was_saved_goes_on_alike():
    def fresh() -> tuple[list[nn.Parameter], Muon]:
        torch.manual_seed(3)
        parameters = [nn.Parameter(torch.randn(3, 5)), nn.Parameter(torch.randn(7))]
        return parameters, Muon(
            [{"params": parameters[:1], "lr": 0.1, "muon": True}, {"params": parameters[1:], "lr": 0.1}]
        )

    def step(parameters: list[nn.Parameter], optimizer: Muon, number: int) -> None:
        generator = torch.Generator().manual_seed(number)
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()

    parameters, optimizer = fresh()
    for number in range(4):
        step(parameters, optimizer, number)
        if number == 1:
            again, other = fresh()
            for parameter, value in zip(again, parameters, strict=True):
                parameter.data.copy_(value)
            other.load_state_dict(deepcopy(optimizer.state_dict()))
    for number in (2, 3):
        step(again, other, number)
    torch.testing.assert_close(again, parameters, rtol=0, atol=0)


def test_the_optimizer_is_plain_adamw_unless_a_group_asks_for_muon():
    layer = nn.Linear(3, 5)
    plain = [{"params": [layer.weight], "lr": 0.1}, {"params": [layer.bias], "lr": 0.2}]
    assert type(make_optimizer(plain, betas=(0.8, 0.9))) is torch.optim.AdamW
    both = make_optimizer([{**plain[0], "muon": True}, plain[1]], betas=(0.8, 0.9), eps=1e-6)
    assert type(both) is Muon
    assert [(group["muon"], group["lr"], group["betas"]) for group in both.param_groups] == [
        (True, 0.1, (0.8, 0.9)),
        (False, 0.2, (0.8, 0.9)),
    ]
