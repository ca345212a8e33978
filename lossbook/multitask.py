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
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lossbook._core.checks import check_choice, check_floating, check_integer, check_ndim, check_range, check_tensor, wrong_type, wrong_value

__all__ = ["UncertaintyWeighting", "mgda", "pcgrad", "task_gradients"]

_Array = npt.NDArray[np.float64]
_COLUMNS = 1 << 16  # of the rows that are multiplied at once: a few rows of so many stay in a cache
KINDS = ("regression", "classification")


def _one_a_task(losses: Tensor | Sequence[Tensor]) -> Tensor:
    """A vector [T] of losses as it is, scalars stacked."""
    if not isinstance(losses, (Tensor, Sequence)):
        wrong_type("losses", "be a tensor [T] or a sequence of scalars", type(losses).__name__)
    if not isinstance(losses, Tensor):
        for task, loss in enumerate(losses):
            check_tensor(f"losses[{task}]", loss)
            check_ndim(f"losses[{task}]", loss, 0, "()")
        losses = torch.stack(list(losses)) if len(losses) else torch.empty(0)
    check_floating("losses", losses)
    check_ndim("losses", losses, 1, "[T]")
    return losses


class UncertaintyWeighting(torch.nn.Module):
    r"""The sum of task losses, each with a weight that is learned: Σ_t c_t L_t / s_t² + ln s_t, with c = ½ for regression and 1 for classification.

    For squared error this is the likelihood of normal noise of variance s² on the targets, and ln s is what keeps the weight from going to 0. At
    fixed losses the optimum is s² = L for regression and s² = 2 L for classification, where every term c L / s² is ½ whatever the unit of L.

    Args:
        kinds: one of "regression" (a mean squared error) and "classification" (a cross-entropy) for each of the T tasks.

    Attributes:
        log_variances: ln s² [T], learned, at first 0. Hand `parameters()` to the optimiser with those of the network, without weight decay.
        weights: c / s² [T] as they stand, detached.

    Call:
        losses [T] or T scalars, not negative; gives a scalar, which can be negative.

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
        ln s = ½ ln s². For classification the term is their approximation, exact at s = 1. Weights stop growing at e^75; in half precision the
        arithmetic and the result are float32.
    """

    factors: Tensor

    def __init__(self, kinds: Sequence[str]) -> None:
        super().__init__()
        if len(kinds) == 0:
            wrong_value("kinds", "name at least one task", "none")
        for task, kind in enumerate(kinds):
            check_choice(f"kinds[{task}]", kind, KINDS)
        self.log_variances = torch.nn.Parameter(torch.zeros(len(kinds)))
        self.register_buffer("factors", torch.tensor([0.5 if kind == "regression" else 1.0 for kind in kinds]))

    def forward(self, losses: Tensor | Sequence[Tensor]) -> Tensor:
        """The weighted sum, and the log terms that keep the weights from 0.

        Args:
            losses: [T], or T scalars, one a kind, at least 0.

        Returns:
            [].

        Raises:
            ValueError for another number of losses, or a negative one.
        """
        losses = _one_a_task(losses)
        if losses.shape != self.factors.shape:
            wrong_value("losses", f"have shape {tuple(self.factors.shape)}, one loss a kind", tuple(losses.shape))
        check_range("losses", losses, 0.0, float("inf"))
        return (self._weights() * losses + self._log_variances() / 2).sum()

    @property
    def weights(self) -> Tensor:
        return self._weights().detach()

    def _log_variances(self) -> Tensor:
        return self.log_variances if self.log_variances.dtype in (torch.float32, torch.float64) else self.log_variances.float()

    def _weights(self) -> Tensor:
        return self.factors * torch.exp((-self._log_variances()).clamp(max=75.0))  # an infinite weight of a loss of 0 would be NaN


def task_gradients(losses: Tensor | Sequence[Tensor], parameters: Iterable[Tensor]) -> Tensor:
    r"""The gradient of each task's loss in the shared parameters, laid end to end: row t is ∂L_t/∂θ.

    Args:
        losses: [T], or T scalars, of one graph.
        parameters: the shared parameters, with P elements in all.

    Returns:
        Gradients [T, P], without a graph; 0 where a loss does not depend on a parameter. The losses' graph is kept for another backward pass.

    Raises:
        TypeError: losses that are not floating point.
        ValueError: losses of another shape than [T] or without a graph, no parameters, a parameter that does not require a gradient.

    Example:
        >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> task_gradients([w.square().sum(), w[0]], [w])
        tensor([[2., 4.],
                [1., 0.]])

    Reference:
        O. Sener, V. Koltun, Multi-task learning as multi-objective optimization, 2018, section 3, on which parameters are shared.
    """
    losses, parameters = _one_a_task(losses), list(parameters)
    if not losses.requires_grad:
        wrong_value("losses", "have a graph to differentiate", "a tensor that requires no gradient")
    if not parameters or not all(parameter.requires_grad for parameter in parameters):
        wrong_value("parameters", "be tensors that require a gradient", "none" if not parameters else "one that does not")
    rows = [torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True) for loss in losses.unbind()]
    return torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])


def _wide(gradients: Tensor) -> Tensor:
    """Without a graph, and half precision as float32, in which 300² does not overflow."""
    rows = gradients.detach()
    return rows if rows.dtype in (torch.float32, torch.float64) else rows.float()


def _products(rows: Tensor) -> _Array:
    """rows rowsᵀ, on the host.

    There each row meets itself and those below it. BLAS packs both sides of a product of matrices first, which costs more than it saves where these
    are a few long rows; a matrix times a vector is not packed, and half of the products need not be taken.
    """
    if rows.device.type != "cpu":
        return (rows @ rows.T).cpu().numpy().astype(np.float64)
    values, products = rows.numpy(), np.zeros((len(rows), len(rows)))
    with np.errstate(all="ignore"):  # what is not finite is found, and named, in the result
        for start in range(0, rows.shape[1], _COLUMNS):
            block = values[:, start : start + _COLUMNS]
            for task, row in enumerate(block):
                products[task, task:] += block[task:] @ row
    for task, row in enumerate(products):
        products[task:, task] = row[task:]
    return products


def _gramian(gradients: Tensor) -> _Array:
    """Inner products of all pairs of rows, on the host: the only copy from the device, and all that is searched for NaN and infinities.

    Either in a row makes its own product so, and no product of two rows exceeds the larger of their own.
    """
    check_floating("gradients", gradients)
    check_ndim("gradients", gradients, 2, "[T, P]")
    if len(gradients) == 0:
        wrong_value("gradients", "have shape [T, P] with at least one task", tuple(gradients.shape))
    gramian = _products(_wide(gradients))
    if not all(map(math.isfinite, gramian.diagonal().tolist())):
        wrong_value("gradients", "be finite, and their squared norms too", "NaN or an infinity")
    return gramian


def _orders(order: Tensor | Sequence[Sequence[int]] | None, generator: torch.Generator | None, tasks: int) -> list[list[int]]:
    """One permutation of the tasks for each task."""
    if order is None:
        drawn: list[list[int]] = torch.rand(tasks, tasks, generator=generator).argsort(dim=1).tolist()
        return drawn
    if generator is not None:
        wrong_type("generator", "be None where `order` is given", type(generator).__name__)
    given = order if isinstance(order, Tensor) else torch.tensor(order)
    check_integer("order", given)
    rows: list[list[int]] = (given.expand(tasks, tasks) if given.shape == (tasks,) else given).tolist()
    if given.shape not in ((tasks,), (tasks, tasks)) or any(sorted(row) != list(range(tasks)) for row in rows):
        wrong_value("order", f"hold permutations of 0 to {tasks - 1}, of shape ({tasks},) or ({tasks}, {tasks})", given.tolist())
    return rows


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
        The sum, as in the algorithm and in torchjd; some code means. The small loop runs on the host, so it is not for `torch.compile` or `vmap`.
    """
    gramian = _gramian(gradients).tolist()
    total = [1.0] * len(gramian)
    for task, row in enumerate(_orders(order, generator, len(gramian))):
        added: list[tuple[float, list[float]]] = []  # shares of the original gradients in the projected one, and their products with all
        for other in row:
            product = gramian[task][other]
            for share, products in added:
                product += share * products[other]
            if product < 0 and other != task:
                share = -product / gramian[other][other]
                total[other] += share
                added.append((share, gramian[other]))
    return _combine(total, gradients)


def _combine(weights: Sequence[float], gradients: Tensor) -> Tensor:
    """Σ_t weights_t gradients_t; in half precision the sum is taken in float32."""
    rows = _wide(gradients)
    if rows.device.type != "cpu":
        return (torch.tensor(weights, dtype=rows.dtype, device=rows.device) @ rows).to(gradients.dtype)
    values = rows.numpy()
    return torch.from_numpy(values.T @ np.asarray(weights, values.dtype)).to(gradients.dtype)


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
        Gradients as they come, without normalisation: the shortest gradient gets most of the weight. For the host, not for `torch.compile` or `vmap`.
    """
    return torch.from_numpy(_nearest_point(_gramian(gradients))).to(gradients)


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


def _nearest_point(gramian: _Array) -> _Array:
    """Wolfe's algorithm: take in the row most opposed to the present point, go to the nearest point of their hull, drop what turns negative there.

    It works on rows of length one, so that lengths of different magnitude cost no digits: with x_t = w_t |g_t| and d_t = 1 / |g_t|, the shortest
    combination of a set of rows solves cosines x ∝ d, and it is the shortest of all where cosines x ≥ |v|² d.
    """
    lengths: _Array = np.sqrt(gramian.diagonal())
    shortest = int(lengths.argmin())
    if lengths[shortest] == 0:
        only: _Array = np.eye(len(gramian))[shortest]
        return only
    inverse: _Array = lengths[shortest] / lengths
    cosines: _Array = gramian / lengths / lengths[:, None]
    whole = _hull_point(cosines, inverse)
    if whole.min() > 0:  # the nearest point of the affine hull lies inside the simplex: no walk needed
        return _simplex(whole * inverse)
    support, x, nearest, least = [shortest], np.eye(len(gramian))[shortest], np.empty(0), float("inf")
    while True:
        products = cosines @ x
        length = float(x @ products)
        if not length < least:  # all that is left to gain is rounding
            return _simplex(nearest * inverse)
        nearest, least = x.copy(), length
        entering = int((products - length * inverse).argmin())
        if entering in support or products[entering] - length * inverse[entering] >= -1e-13 * float(x.sum()):
            return _simplex(nearest * inverse)
        support.append(entering)
        while True:
            present = x[support]
            target = _hull_point(cosines[np.ix_(support, support)], inverse[support])
            if present[-1] == 0 and not target[-1] > 0:  # to rounding, the row that entered lies in the hull of the others
                return _simplex(nearest * inverse)
            if target.min() > 0:
                break
            falling = np.flatnonzero(target <= 0)
            steps = present[falling] / np.maximum(present[falling] - target[falling], 1e-300)  # 0 / 0 leaves at once
            x[support] = present + float(steps.min()) * (target - present)
            leaving = support[int(falling[steps.argmin()])]
            x[leaving] = 0.0
            support.remove(leaving)
        x[support] = target
