"""Several losses on one network: weights that find themselves, the gradient of each task, and compromises between gradients.

Chapters: balancing, conflict. A step of a training loop with PCGrad, and no trainer:

    >>> trunk, heads = torch.nn.Linear(3, 4), torch.nn.ModuleList([torch.nn.Linear(4, 1), torch.nn.Linear(4, 2)])
    >>> optimizer = torch.optim.SGD([*trunk.parameters(), *heads.parameters()], lr=0.1)
    >>> shared, features = list(trunk.parameters()), torch.randn(8, 3)
    >>> place, kind = (head(trunk(features).tanh()) for head in heads)
    >>> losses = torch.stack([place.square().mean(), torch.nn.functional.cross_entropy(kind, torch.ones(8, dtype=torch.long))])
    >>> step = pcgrad(task_gradients(losses, shared))  # or: gradients = task_gradients(losses, shared); step = mgda(gradients) @ gradients
    >>> optimizer.zero_grad()
    >>> losses.sum().backward()  # what the heads get
    >>> for parameter, part in zip(shared, step.split([parameter.numel() for parameter in shared])):
    ...     parameter.grad = part.view_as(parameter)  # what the trunk gets
    >>> optimizer.step()

The plain formula of the products of all gradients: `rows @ rows.T`. On a CPU long ones are multiplied block by block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lossbook._core.checks import (
    check_choice,
    check_concrete,
    check_finite,
    check_floating,
    check_generator,
    check_integer,
    check_ndim,
    check_range,
    check_same_device,
    wrong_type,
    wrong_value,
)
from lossbook._core.door import full_precision, outside_graphs, plain, plain_arguments, widened

__all__ = ["UncertaintyWeighting", "mgda", "pcgrad", "task_gradients"]

_Array = npt.NDArray[np.float64]
_COLUMNS = 1 << 16  # of the rows that are multiplied at once: a few rows of so many stay in a cache
KINDS = ("regression", "classification")


def _checked_losses(losses: Tensor | Sequence[Tensor]) -> Tensor | list[Tensor]:
    """A vector [T] of losses, or a list of T scalars."""
    if isinstance(losses, Tensor):
        check_floating("losses", losses)
        check_ndim("losses", losses, 1, "[T]")
        return losses
    if not isinstance(losses, Sequence):
        wrong_type("losses", "be a tensor [T] or a sequence of scalars", type(losses).__name__)
    scalars = [plain(loss) for loss in losses]
    for task, loss in enumerate(scalars):
        check_floating(f"losses[{task}]", loss)
        check_ndim(f"losses[{task}]", loss, 0, "()")
        check_same_device(f"losses[{task}]", loss, "losses[0]", scalars[0])
    return scalars


class UncertaintyWeighting(torch.nn.Module):
    r"""The sum of task losses, each with a weight that is learned: Σ_t c_t L_t / s_t² + ln s_t, with c = ½ for regression and 1 for classification.

    For squared error this is the likelihood of normal noise of variance s² on the targets, and ln s is what keeps the weight from going to 0. At
    fixed losses the optimum is s² = L for regression and s² = 2 L for classification, where every term c L / s² is ½ whatever the unit of L.

    Args:
        kinds: one of "regression" (a mean squared error) and "classification" (a cross-entropy) for each of the T tasks.

    Attributes:
        kinds: what was given.
        log_variances: ln s² [T], learned, at first 0. Hand `parameters()` to the optimiser with those of the network, without weight decay.
        weights: c / s² [T] as they stand, detached.

    Call with:
        losses: [T] or T scalars, not negative.

    Returns:
        A scalar, which can be negative.

    Raises:
        TypeError: losses that are not floating point.
        ValueError: no kinds, an unknown kind, another number of losses, a loss that is negative or NaN.

    Example:
        >>> combine = UncertaintyWeighting(["regression", "classification"])
        >>> combine(torch.tensor([100.0, 1.6]))
        tensor(51.6000, grad_fn=<SumBackward0>)

    Reference:
        A. Kendall, Y. Gal, R. Cipolla, Multi-task learning using uncertainty to weigh losses for scene geometry and semantics, 2018, equation 10.

    Conventions:
        ln s = ½ ln s². For classification the term is their approximation, exact at s = 1. Weights stop growing at e^75.
    """

    __call__: Callable[..., Tensor]  # torch says Any

    factors: Tensor

    def __init__(self, kinds: Iterable[str]) -> None:
        super().__init__()
        if isinstance(kinds, str) or not isinstance(kinds, Iterable):
            wrong_type("kinds", "be a sequence of names", type(kinds).__name__)
        self.kinds = tuple(kinds)
        if not self.kinds:
            wrong_value("kinds", "name at least one task", "none")
        for task, kind in enumerate(self.kinds):
            check_choice(f"kinds[{task}]", kind, KINDS)
        self.log_variances = torch.nn.Parameter(torch.zeros(len(self.kinds)))
        self.register_buffer("factors", torch.tensor([0.5 if kind == "regression" else 1.0 for kind in self.kinds]))

    def extra_repr(self) -> str:
        return f"kinds={list(self.kinds)}"

    @full_precision
    def forward(self, losses: Tensor | Sequence[Tensor]) -> Tensor:
        """The weighted sum, and the log terms that keep the weights from 0.

        Args:
            losses: [T], or T scalars, one a kind, at least 0.

        Returns:
            [], of float32 at least.

        Raises:
            TypeError for losses that are not floating point.
            ValueError for another number of losses, or a negative one.
        """
        checked = _checked_losses(losses)
        if len(checked) != len(self.kinds):
            wrong_value("losses", f"have shape {tuple(self.factors.shape)}, one loss a kind", (len(checked),))
        together = checked if isinstance(checked, Tensor) else torch.stack(checked)
        check_same_device("losses", together, "log_variances", self.log_variances)
        check_range("losses", together, 0.0, float("inf"))
        total: Tensor = (self._weights() * together + widened(self.log_variances) / 2).sum()
        return total

    @property
    def weights(self) -> Tensor:
        return self._weights().detach()

    def _weights(self) -> Tensor:
        return self.factors * torch.exp((-widened(self.log_variances)).clamp(max=75.0))  # an infinite weight of a loss of 0 would be NaN


@outside_graphs
@plain_arguments
def task_gradients(losses: Tensor | Sequence[Tensor], parameters: Iterable[Tensor]) -> Tensor:
    r"""The gradient of each task's loss in the shared parameters, laid end to end: row t is ∂L_t/∂θ.

    Args:
        losses: [T], or T scalars. Scalars are differentiated each by itself; in a stack, a slope that is infinite for one loss is NaN for all.
        parameters: the shared parameters, with P elements in all, no two of them the same.

    Returns:
        Gradients [T, P], without a graph; 0 where a loss does not depend on a parameter. The losses' graph is kept for another backward pass.

    Raises:
        TypeError: losses that are not floating point, parameters that are no tensors, or one tensor.
        ValueError: losses of another shape than [T] or without a graph, no parameters, a parameter that does not require a gradient or comes twice.

    Example:
        >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> task_gradients([w.square().sum(), w[0]], [w])
        tensor([[2., 4.],
                [1., 0.]])

    Reference:
        O. Sener, V. Koltun, Multi-task learning as multi-objective optimization, 2018, section 3, on which parameters are shared.
    """
    checked, shared = _checked_losses(losses), _checked_parameters(parameters)
    # scalars each have a graph of their own, so that no other's infinite slope comes in as 0 · ∞
    tasks = checked if isinstance(checked, list) else list(checked.unbind())
    for loss in tasks:
        check_concrete("losses", loss)
    if not any(loss.requires_grad for loss in tasks):
        wrong_value("losses", "have a graph to differentiate", "a tensor that requires no gradient" if tasks else "none")
    return torch.stack([torch.cat([_flat(part) for part in _gradient(loss, shared)]) for loss in tasks])


def _checked_parameters(parameters: Iterable[Tensor]) -> list[Tensor]:
    if isinstance(parameters, Tensor) or not isinstance(parameters, Iterable):  # the rows of a tensor are no part of the losses' graph
        wrong_type("parameters", "be an iterable of tensors", type(parameters).__name__)
    shared = list(parameters)
    for place, parameter in enumerate(shared):
        check_floating(f"parameters[{place}]", parameter)
        check_same_device(f"parameters[{place}]", parameter, "parameters[0]", shared[0])
    if not shared or not all(parameter.requires_grad for parameter in shared):
        wrong_value("parameters", "be tensors that require a gradient", "none" if not shared else "one that does not")
    if len({id(parameter) for parameter in shared}) < len(shared):
        wrong_value("parameters", "be all different", "one that comes twice")
    return shared


def _gradient(loss: Tensor, shared: list[Tensor]) -> Iterable[Tensor]:
    if not loss.requires_grad:
        return (torch.zeros_like(parameter) for parameter in shared)
    return torch.autograd.grad(loss, shared, retain_graph=True, materialize_grads=True)


def _flat(gradient: Tensor) -> Tensor:
    """An embedding can have a sparse one."""
    return (gradient if gradient.layout == torch.strided else gradient.to_dense()).flatten()


class _Rows(NamedTuple):
    """The gradients g_t = unit scale_t u_t: the rows u_t, their lengths, and the cosines between them, 0 where a row is. The rows alone are large."""

    rows: Tensor
    unit: float
    scale: _Array
    lengths: _Array
    cosines: _Array


def _measured(gradients: Tensor) -> _Rows:
    """Rows as they come, half precision as float32, in which 300² does not overflow.

    Where a squared length is no number of the dtype or next to none, and where it is 0, rows are taken in float64 with 1 as their largest entry.
    """
    check_floating("gradients", gradients)
    check_ndim("gradients", gradients, 2, "[T, P]")
    check_concrete("gradients", gradients)
    if len(gradients) == 0:
        wrong_value("gradients", "have shape [T, P] with at least one task", tuple(gradients.shape))
    rows, unit, scale = widened(gradients.detach()).resolve_neg(), 1.0, np.ones(len(gradients))
    products = _products(rows)
    squares = products.diagonal()
    if not (np.isfinite(squares).all() and squares.min() > 1e12 * torch.finfo(rows.dtype).tiny):
        check_finite("gradients", rows)
        most = rows.abs().amax(dim=1).double() if rows.shape[1] else rows.new_zeros(len(rows), dtype=torch.float64)
        most = torch.where(most > 0, most, 1.0)
        rows, unit = rows / most[:, None], float(most.max())  # in float64, as `most` is
        products, scale = _products(rows), (most / unit).cpu().numpy()
    lengths: _Array = np.sqrt(products.diagonal())
    some = np.where(lengths > 0, lengths, 1.0)
    return _Rows(rows, unit, scale, lengths, products / some / some[:, None])


def _products(rows: Tensor) -> _Array:
    """rows rowsᵀ, on the host.

    There each row meets itself and those below it. BLAS packs both sides of a product of matrices first, which costs more than it saves where these
    are a few long rows; a matrix times a vector is not packed, and half of the products need not be taken.
    """
    if rows.device.type != "cpu":
        return (rows @ rows.T).cpu().numpy().astype(np.float64)
    values, products = rows.numpy(), np.zeros((len(rows), len(rows)))
    with np.errstate(all="ignore"):  # what is not finite is found in the result: it makes the product of its own row so
        for start in range(0, rows.shape[1], _COLUMNS):
            block = values[:, start : start + _COLUMNS]
            for task, row in enumerate(block):
                products[task, task:] += block[task:] @ row
    for task, row in enumerate(products):
        products[task:, task] = row[task:]
    return products


def _orders(order: Tensor | Sequence[Sequence[int]] | None, generator: torch.Generator | None, tasks: int) -> list[list[int]]:
    """One permutation of the tasks for each task."""
    check_generator("generator", generator)
    if order is None:
        drawn: list[list[int]] = torch.rand(tasks, tasks, generator=generator, device="cpu").argsort(dim=1).tolist()
        return drawn
    if generator is not None:
        wrong_type("generator", "be None where `order` is given", type(generator).__name__)
    try:
        given = order if isinstance(order, Tensor) else torch.as_tensor(np.asarray(order))
    except (TypeError, ValueError):
        wrong_type("order", "be a tensor or a sequence of rows of one length", order)
    check_integer("order", given)
    check_concrete("order", given)
    rows: list[list[int]] = (given.expand(tasks, tasks) if given.shape == (tasks,) else given).tolist()
    if given.shape not in ((tasks,), (tasks, tasks)) or any(sorted(row) != list(range(tasks)) for row in rows):
        wrong_value("order", f"hold permutations of 0 to {tasks - 1}, of shape ({tasks},) or ({tasks}, {tasks})", given.tolist())
    return rows


@outside_graphs
@plain_arguments
def pcgrad(gradients: Tensor, *, order: Tensor | Sequence[Sequence[int]] | None = None, generator: torch.Generator | None = None) -> Tensor:
    r"""The sum of the tasks' gradients after each has lost what points against another: g_i ← g_i − (g_i·g_j / |g_j|²) g_j where g_i·g_j < 0.

    Each g_i meets the *original* gradients of the other tasks one after the other. For two tasks the step hurts neither, to first order.

    Args:
        gradients: [T, P], one row a task.
        order: in which order a task meets the others: [T] for all tasks alike, or [T, T], row i for task i (i itself in it is passed over).
            None draws an order for each task.
        generator: on the CPU; draws the orders.

    Returns:
        The sum [P], in the dtype and on the device of `gradients`; no gradient flows through it. Divide by T for a mean.

    Raises:
        TypeError: gradients that are not floating point, an order that is not integer, both an order and a generator.
        ValueError: another shape, gradients that are not finite, rows of `order` that are no permutations.

    Example:
        >>> pcgrad(torch.tensor([[2.0, 0.0], [-1.0, 1.0]]))
        tensor([1., 2.])

    Reference:
        T. Yu et al., Gradient surgery for multi-task learning, 2020, algorithm 1.

    Conventions:
        The sum, as in the algorithm and in torchjd; some code means. A gradient of 0 is against none. The small loop runs on the host, so it is not
        for `vmap`, and breaks a graph of `torch.compile`.
    """
    tasks = _measured(gradients)
    cosines, whole = tasks.cosines.tolist(), (tasks.scale * tasks.lengths).tolist()
    total = tasks.scale.copy()  # of each row u in the sum
    for task, row in enumerate(_orders(order, generator, len(cosines))):
        added: list[tuple[float, list[float]]] = []  # shares of the others in the projected one, all of length one, and their cosines with all
        for other in row:
            product = cosines[task][other]
            for share, met in added:
                product += share * met[other]
            if product < 0 and other != task:
                total[other] -= product * whole[task] / tasks.lengths[other]
                added.append((-product, cosines[other]))
    step = _combine(total, tasks.rows)
    return (step if tasks.unit == 1 else tasks.unit * step).to(gradients.dtype)


def _combine(weights: _Array, rows: Tensor) -> Tensor:
    """Σ_t weights_t rows_t."""
    if rows.device.type != "cpu":
        return torch.from_numpy(weights).to(rows) @ rows
    values = rows.numpy()
    return torch.from_numpy(values.T @ weights.astype(values.dtype))


@outside_graphs
@plain_arguments
def mgda(gradients: Tensor) -> Tensor:
    r"""The weights of the shortest convex combination of the tasks' gradients: argmin |Σ_t w_t g_t|² over w ≥ 0, Σ_t w_t = 1.

    With v = Σ_t w_t g_t, every g_t·v ≥ |v|², so a step along −v lowers all losses to first order, unless v = 0: then no step does.

    Args:
        gradients: [T, P], one row a task.

    Returns:
        Weights on the simplex [T], in the dtype and on the device of `gradients`; the step is `mgda(gradients) @ gradients`. Where the weights are
        not unique (v is), one solution. No gradient flows through them.

    Raises:
        TypeError: gradients that are not floating point.
        ValueError: another shape, gradients that are not finite.

    Example:
        >>> mgda(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
        tensor([0.2000, 0.8000])

    Reference:
        J.-A. Désidéri, Multiple-gradient descent algorithm (MGDA) for multiobjective optimization, 2012, section 2; the solver is that of P. Wolfe,
        Finding the nearest point in a polytope, 1976: exact after finitely many steps, where Sener and Koltun (2018) stop Frank and Wolfe's early.

    Conventions:
        Gradients as they come, without normalisation: the shortest gradient gets most of the weight. The solver runs on the host, so it is not for
        `vmap`, and breaks a graph of `torch.compile`.
    """
    tasks = _measured(gradients)
    return torch.from_numpy(_nearest_point(tasks.cosines, tasks.scale * tasks.lengths)).to(gradients.device, gradients.dtype)


def _simplex(weights: _Array) -> _Array:
    scaled: _Array = weights / weights.sum()
    return scaled


def _hull_point(cosines: _Array, d: _Array) -> _Array:
    """cosines x = |v|² d and d·x = 1, bordered since the cosines alone are singular where v = 0; NaN where the rows are dependent."""
    bordered, right = np.zeros((len(d) + 1, len(d) + 1)), np.zeros(len(d) + 1)
    bordered[:-1, :-1], bordered[:-1, -1], bordered[-1, :-1], right[-1] = cosines, -d, d, 1.0
    try:
        solution: _Array = np.asarray(np.linalg.solve(bordered, right), np.float64)
    except np.linalg.LinAlgError:
        solution = np.full(len(bordered), np.nan)
    return solution[:-1]


def _nearest_point(cosines: _Array, lengths: _Array) -> _Array:
    """Wolfe's algorithm: take in the row most opposed to the present point, go to the nearest point of their hull, drop what turns negative there.

    It works on rows of length one, so that lengths of different magnitude cost no digits: with x_t = w_t |g_t| and d_t = 1 / |g_t|, the shortest
    combination of a set of rows solves cosines x ∝ d, and it is the shortest of all where cosines x ≥ |v|² d.
    """
    shortest = int(lengths.argmin())
    if lengths[shortest] == 0:
        only: _Array = np.eye(len(lengths))[shortest]
        return only
    inverse: _Array = lengths[shortest] / lengths
    whole = _hull_point(cosines, inverse)
    if whole.min() > 0:  # the nearest point of the affine hull lies inside the simplex: no walk needed
        return _simplex(whole * inverse)
    support, x, nearest = [shortest], np.eye(len(lengths))[shortest], np.empty(0)
    seen: set[frozenset[int]] = set()
    while True:
        products = cosines @ x
        length = float(x @ products)
        # a row opposed by δ shortens |v|² by δ², which rounding can hide: rows are taken in all the same, but no set of them twice. So the walk
        # ends where a row lies in the hull of the others, to rounding: it leaves at once, and the set before comes back
        if frozenset(support) in seen:
            return _simplex(nearest * inverse)
        nearest = x.copy()
        seen.add(frozenset(support))
        entering = int((products - length * inverse).argmin())
        if entering in support or products[entering] - length * inverse[entering] >= -1e-13 * float(x.sum()):
            return _simplex(nearest * inverse)
        support.append(entering)
        while True:
            present = x[support]
            target = _hull_point(cosines[np.ix_(support, support)], inverse[support])
            if target.min() > 0:
                break
            falling = np.flatnonzero(target <= 0)
            steps = present[falling] / np.maximum(present[falling] - target[falling], 1e-300)  # 0 / 0 leaves at once
            x[support] = present + float(steps.min()) * (target - present)
            leaving = support[int(falling[steps.argmin()])]
            x[leaving] = 0.0
            support.remove(leaving)
        x[support] = target
