"""The training loop against the same loop written out, for each kind of optimiser; and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lossbook.book.training import train

OPTIMIZERS: dict[str, Callable[[list[Tensor]], torch.optim.Optimizer]] = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=0.1, weight_decay=1e-3),
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, lr=0.1),
}


def regression(generator: torch.Generator) -> tuple[Tensor, Callable[[], Tensor]]:
    """Weights, and the mean squared error of a line on a batch that is drawn at every call."""
    x, weights = torch.randn(50, 3, generator=generator), torch.zeros(3, requires_grad=True)
    y = x @ torch.tensor([1.0, -2.0, 0.5])

    def loss() -> Tensor:
        rows = torch.randint(50, (8,), generator=generator)
        return (x[rows] @ weights - y[rows]).square().mean()

    return weights, loss


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_is_the_loop_written_out(name: str) -> None:
    weights, loss = regression(torch.Generator().manual_seed(0))
    optimizer, expected = OPTIMIZERS[name]([weights]), []
    for _ in range(12):
        value = loss()
        expected.append(value.detach())
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    same, loss = regression(torch.Generator().manual_seed(0))
    losses = train(OPTIMIZERS[name]([same]), loss, steps=12)
    assert torch.equal(same, weights)
    assert torch.equal(losses, torch.stack(expected))
    assert not losses.requires_grad


def test_called_again_it_goes_on_where_it_was() -> None:
    """The batches, and what Adam remembers of the gradients."""
    whole, loss = regression(torch.Generator().manual_seed(0))
    at_once = train(torch.optim.Adam([whole], lr=0.1), loss, steps=9)
    parts, loss = regression(torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam([parts], lr=0.1)
    in_parts = torch.cat([train(optimizer, loss, steps=steps) for steps in (4, 5)])
    assert torch.equal(whole, parts)
    assert torch.equal(at_once, in_parts)


def test_one_step_of_lbfgs_finds_the_bottom_of_a_bowl() -> None:
    place = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    bottom = torch.tensor([3.0, -1.0], dtype=torch.float64)
    optimizer = torch.optim.LBFGS([place], max_iter=50, line_search_fn="strong_wolfe")
    losses = train(optimizer, lambda: (torch.tensor([1.0, 10.0]) * (place - bottom).square()).sum(), steps=1)
    assert losses.tolist() == [9 + 10]  # at (0, 0)
    torch.testing.assert_close(place.detach(), bottom)


def test_old_gradients_are_forgotten() -> None:
    weight = torch.tensor(1.0, requires_grad=True)
    weight.grad = torch.tensor(100.0)
    train(torch.optim.SGD([weight], lr=0.25), lambda: weight.square(), steps=1)
    assert weight.item() == 1 - 0.25 * 2


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"optimizer": torch.zeros(1)}, TypeError, "`optimizer` should be one of torch.optim; found Tensor."),
        ({"loss": torch.zeros(())}, TypeError, "`loss` should be callable; found Tensor."),
        ({"loss": lambda: 1.0}, TypeError, "`loss` should be a torch.Tensor; found float."),
        ({"loss": lambda: torch.zeros(2)}, ValueError, "`loss` should have shape (); found (2,)."),
        ({"steps": 0}, ValueError, "`steps` should be at least 1; found 0."),
        ({"steps": 1.0}, TypeError, "`steps` should be an integer; found float."),
    ],
)
def test_refusals(change: dict[str, Any], error: type[Exception], words: str) -> None:
    weight = torch.tensor(1.0, requires_grad=True)
    arguments: dict[str, Any] = {"optimizer": torch.optim.SGD([weight], lr=0.1), "loss": lambda: weight.square(), "steps": 1}
    with pytest.raises(error) as said:
        train(**{**arguments, **change})
    assert str(said.value) == words
    assert weight.item() == 1
    assert weight.grad is None
