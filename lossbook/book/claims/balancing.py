"""Two losses on one network: claims C48 to C52."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook.book.claims.ledger import Measurement, claim, measured
from lossbook.boxes import smooth_l1
from lossbook.multitask import UncertaintyWeighting, task_gradients


@claim(
    "C48",
    statement="A detector's loss is a weighted sum of cross-entropy and smooth L1, averaged over all examples.",
    verdict="holds",
    corrected="Within a picture the class term runs over all boxes, the box term over those with an object; each can have a denominator of its own.",
    chapter="balancing",
    references=("girshick2015fast", "ren2015faster"),
    quantity="box term of 1000 boxes, ten with an object, divided by all of them instead of by the ten, as a share",
)
def the_box_term_is_summed_over_positives(seed: int) -> Measurement:
    at = torch.tensor([1 - 1e-9, 1 + 1e-9], dtype=torch.float64, requires_grad=True)
    values = smooth_l1(at, torch.zeros(2, dtype=torch.float64), reduction="none")
    (slopes,) = torch.autograd.grad(values.sum(), at)
    errors = 3 * torch.randn(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    pieces = torch.where(errors.abs() < 1, errors.square() / 2, errors.abs() - 0.5)
    gap = float((smooth_l1(errors, torch.zeros_like(errors), reduction="none") - pieces).abs().max())
    positive = torch.arange(1000) < 10  # ten boxes hold an object; the others have no box to be near
    over_positives, over_all = float(pieces[positive].mean()), float(torch.where(positive, pieces, 0.0).mean())
    agree = gap < 1e-12 and bool(((slopes - 1).abs() < 1e-8).all()) and bool(((values - 0.5).abs() < 1e-8).all())
    return measured(
        over_all / over_positives,
        0.01,
        1e-12,
        conditions=agree,
        box_term_over_ten_positives=over_positives,
        the_same_over_all_thousand=over_all,
        slope_of_smooth_L1_where_its_pieces_meet=float(slopes[0].detach()),
    )


@claim(
    "C49",
    statement="Cross-entropy has a natural scale, often a small number like 1.6.",
    verdict="holds",
    corrected="A network that knows nothing pays ln K for K classes: 1.6 is ln 5.",
    chapter="balancing",
    references=(),
    quantity="mean cross-entropy of an untrained network with zero last layer, 5 classes",
)
def knowing_nothing_costs_ln_k(seed: int) -> Measurement:
    source = torch.Generator().manual_seed(seed)
    hidden = torch.randn(200, 8, generator=source, dtype=torch.float64)
    start = {k: float(F.cross_entropy(hidden @ torch.zeros(8, k).double(), torch.randint(0, k, (200,), generator=source))) for k in (5, 10, 1000)}
    conditions = all(abs(value - math.log(k)) < 1e-9 for k, value in start.items())
    return measured(start[5], math.log(5), 1e-9, conditions=conditions, with_10_classes=start[10], with_1000_classes=start[1000])


def two_tasks(seed: int, count: int = 400) -> tuple[Tensor, Tensor, Tensor]:
    """Points in the plane: a length in metres that follows the first direction, and one of five classes along the second."""
    source = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 2, generator=source, dtype=torch.float64)
    metres = 10 * features[:, 0] + torch.randn(count, generator=source, dtype=torch.float64)
    edges = torch.tensor([-0.8416, -0.2533, 0.2533, 0.8416], dtype=torch.float64)  # fifths of a normal distribution
    return features, metres, torch.bucketize(features[:, 1].contiguous(), edges)


def train(seed: int, unit: float, learning_rate: float, steps: int = 300) -> tuple[float, float, Tensor]:
    """A shared layer of two tanh units, squared error plus cross-entropy by gradient descent: accuracy, R² and the first gradients in the trunk."""
    features, metres, labels = two_tasks(seed)
    lengths, source = unit * metres, torch.Generator().manual_seed(seed)
    trunk, length_head, class_head = (
        (torch.randn(shape, generator=source, dtype=torch.float64) * 0.5).requires_grad_() for shape in ((2, 2), (2, 1), (2, 5))
    )
    length_bias, class_bias = torch.zeros(1, dtype=torch.float64, requires_grad=True), torch.zeros(5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([trunk, length_head, class_head, length_bias, class_bias], lr=learning_rate)

    def forward() -> tuple[Tensor, Tensor, Tensor]:
        shared = (features @ trunk).tanh()
        found, logits = (shared @ length_head + length_bias)[:, 0], shared @ class_head + class_bias
        return found, logits, torch.stack([F.mse_loss(found, lengths), F.cross_entropy(logits, labels)])

    first = task_gradients(forward()[2], [trunk])
    for _ in range(steps):
        optimizer.zero_grad()
        forward()[2].sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        found, logits, _ = forward()
    explained = 1 - float(F.mse_loss(found, lengths) / lengths.var(correction=0))
    return float((logits.argmax(1) == labels).double().mean()), explained, first


@claim(
    "C50",
    statement="Add a squared error of 100 to a cross-entropy of 1.6, and the regression dominates: the model neglects its classes.",
    verdict="conditional",
    corrected="Where the 100 can be reduced, it does: it takes nearly all of the first step, and where one rate has to suit both, the classes "
    "come late; in centimetres neither task had come after 300 steps. What cannot be reduced has no pull on average; it shakes the steps, under "
    "gradient descent the more so the larger the rate.",
    chapter="balancing",
    references=("sener2018multi", "kurin2022defense"),
    quantity="the regression's share of the first gradient in a shared trunk, mean of 20 starts, for lengths in metres, squared error about 100",
)
def what_can_be_reduced_dominates(seed: int) -> Measurement:
    mu = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(mu.square() + 100 + F.softplus(-mu), mu)
    # Each at a rate near the largest at which its loss still falls.
    metres, centimetres, standard = (train(seed, unit, rate) for unit, rate in ((1.0, 0.03), (100.0, 1e-5), (0.1, 0.3)))
    starts = torch.stack([train(20 * seed + start, 1.0, 0.03, steps=0)[2].norm(dim=1) for start in range(20)])
    shares = starts[:, 0] / starts.sum(dim=1)
    return measured(
        float(shares.mean()),
        0.97,
        0.03,  # five times 0.026 / √20
        conditions=abs(float(slope.detach()) + 0.5) < 1e-12 and standard[0] > centimetres[0] + 0.15,  # -½: the derivative of ln(1 + exp(-x)) at 0
        least_share_of_20_starts=float(shares.min()),
        slope_of_the_naming_beside_a_constant_of_100=float(slope.detach()),
        accuracy_after_300_steps_in_metres=metres[0],
        accuracy_in_centimetres=centimetres[0],
        variance_explained_in_centimetres=centimetres[1],
        accuracy_with_standardised_lengths=standard[0],
    )


@claim(
    "C51",
    statement="Going from metres to centimetres multiplies the regression loss by 100².",
    verdict="holds",
    corrected="The mean squared error, by 10 000. The mean absolute error grows by 100, and smooth L1 by something between, depending on the error.",
    chapter="balancing",
    references=("girshick2015fast",),
    quantity="ratio of the mean squared errors, centimetres to metres",
)
def centimetres_square_the_hundred(seed: int) -> Measurement:
    errors = torch.randn(500, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))

    def ratio(loss: Callable[[Tensor, Tensor], Tensor], of: Tensor) -> float:
        return float(loss(100 * of, torch.zeros_like(of)) / loss(of, torch.zeros_like(of)))

    half, tiny = (ratio(smooth_l1, torch.tensor([error], dtype=torch.float64)) for error in (0.5, 0.01))
    absolute = ratio(F.l1_loss, errors)
    expected = (50 - 0.5) / (0.5**2 / 2)  # |50 cm| - ½ over ½ (0.5 m)²
    conditions = abs(absolute - 100) < 1e-9 and abs(half - expected) < 1e-9
    found = {"absolute_error": absolute, "smooth_L1_at_half_a_metre": half, "smooth_L1_at_a_centimetre": tiny}
    return measured(ratio(F.mse_loss, errors), 1e4, 1e-7, conditions=conditions, **found)


def learn_weights(losses: Tensor, objective: Callable[[Tensor], Tensor], start: Tensor, steps: int, rate: float) -> Tensor:
    """Adam on the weights' own parameters, with the losses held fixed."""
    parameters = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([parameters], lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        objective(parameters).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return parameters.detach()


@claim(
    "C52",
    statement="Each task's weight can be a learnable parameter, which is called homoscedastic uncertainty.",
    verdict="conditional",
    corrected="Weights that are simply learned go to 0, since that makes any sum small. The likelihood's ln s term holds them up: at its optimum "
    "every weighted term is 1/2, whatever the units. The optimum doesn't depend on the units; the path to it does.",
    chapter="balancing",
    references=("kendall2018multi", "kurin2022defense"),
    quantity="what a change from metres to centimetres adds to the learned objective at its optimum",
)
def the_logarithm_holds_the_weights_up(seed: int) -> Measurement:
    losses = torch.tensor([100.0, 1.6], dtype=torch.float64)
    naive = learn_weights(losses, lambda raw: raw.exp() @ losses, torch.zeros(2, dtype=torch.float64), 3000, 0.1).exp()
    bottoms, terms = [], []
    for scale in (torch.tensor([1.0, 1.0]), torch.tensor([1e4, 1.0])):
        combine = UncertaintyWeighting(["regression", "classification"]).double()
        optimizer = torch.optim.LBFGS(combine.parameters(), max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe")

        def closure(combine: UncertaintyWeighting = combine, optimizer: torch.optim.LBFGS = optimizer, scaled: Tensor = scale * losses) -> Tensor:
            optimizer.zero_grad()
            value: Tensor = combine(scaled)
            value.backward()  # type: ignore[no-untyped-call]
            return value

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        bottoms.append(float(combine(scale * losses).detach()))
        terms.append(combine.weights * scale * losses)
    halves = float((torch.stack(terms) - 0.5).abs().max())
    return measured(
        bottoms[1] - bottoms[0],
        math.log(100),  # ½ ln(1e4): the profile is ½ ln L₁ + ½ ln 2 L₂ + 1
        1e-6,
        conditions=halves < 1e-4 and float((naive * losses).max()) < 0.05,
        largest_distance_of_a_weighted_term_from_one_half=halves,
        largest_naively_weighted_loss_after_3000_steps=float((naive * losses).max()),
    )
