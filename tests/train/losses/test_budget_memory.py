"""Measurements of budgets that are learned from more than once."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch.nn import functional
from torch.testing import assert_close

from llava.train.losses.budget_memory import BudgetMemory
from shirg.budget import BudgetHead

BUDGETS, SIDE = 3, 32


def measurement(number: int, images: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(number)
    return (
        torch.rand(images, SIDE, SIDE, generator=generator),
        torch.randint(BUDGETS, (images,), generator=generator),
    )


def decided_head() -> BudgetHead:
    head = BudgetHead(BUDGETS)
    with torch.no_grad():
        head.out.weight.normal_()
    return head


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=7), length=st.integers(1, 5))
def test_the_last_measurements_are_learned_from_together_and_no_other(sizes: list[int], length: int) -> None:
    memory, head = BudgetMemory(length), decided_head()
    measured = [measurement(number, images) for number, images in enumerate(sizes)]
    for one in measured:
        memory.add(*one)
    total, count = memory.learn(head)
    kept = measured[-length:]
    assert int(count) == sum(len(labels) for _, labels in kept)
    alone = [
        -head(page[None]).log_softmax(-1)[0, label]
        for maps, labels in kept
        for page, label in zip(maps, labels, strict=True)
    ]
    assert_close(total, torch.stack(alone).sum(), rtol=1e-4, atol=1e-5)
    assert memory.picked is not None
    for place in range(BUDGETS):
        picks = sum(int(head(page[None]).argmax()) == place for maps, _ in kept for page in maps)
        assert memory.picked[:, place].tolist() == [picks, sum(int((labels == place).sum()) for _, labels in kept)]


def test_an_undecided_head_picks_the_largest_budget_as_where_it_is_asked() -> None:
    memory = BudgetMemory(2)
    memory.add(*measurement(0, 5))
    memory.learn(BudgetHead(BUDGETS))
    assert memory.picked is not None
    assert memory.picked[0].tolist() == [0, 0, 5]


def test_what_is_kept_goes_through_a_file_and_replaces_what_was_there() -> None:
    memory, other = BudgetMemory(3), BudgetMemory(3)
    for number in range(5):
        memory.add(*measurement(number, 1 + number))
    other.add(*measurement(9, 2))
    other.load(load(save(memory.state())), torch.device("cpu"))
    assert len(other) == 3
    for name, value in memory.state().items():
        assert_close(other.state()[name], value, rtol=0, atol=0)
    other.load(load(save(BudgetMemory(3).state())), torch.device("cpu"))
    assert len(other) == 0


def test_a_head_that_learns_in_every_step_finds_what_a_few_steps_do_not() -> None:
    """Planted: pages with print in one of three places, measured every 25 steps."""
    printed = torch.arange(SIDE) * BUDGETS // SIDE

    def pages(number: int, images: int) -> tuple[torch.Tensor, torch.Tensor]:
        maps, labels = measurement(number, images)
        return 0.05 * maps + 0.3 * (printed == labels[:, None])[..., None], labels

    found = []
    for every_step in (False, True):
        torch.manual_seed(3)
        head, memory = BudgetHead(BUDGETS), BudgetMemory(4)
        optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
        for step in range(100):
            if step % 25 == 0:
                memory.add(*pages(step, 11))
            elif not every_step:
                continue
            optimizer.zero_grad()
            total, count = memory.learn(head)
            (total / count).backward()
            optimizer.step()
        maps, labels = pages(10_001, 97)
        found.append(float(functional.cross_entropy(head(maps).detach(), labels)))
    few, many = found
    assert many < 0.3
    assert few > 0.9
