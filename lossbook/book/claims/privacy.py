"""What a secret costs: claims C65 to C67, and the corrected loss X05."""

from __future__ import annotations

import math

import torch

from lossbook.book.claims.ledger import Measurement, claim, measured
from lossbook.privacy import RandomizedResponse, majority_excess_risk, sample_inflation


@claim(
    "C65",
    statement="For privacy one can use randomised response: flip some fraction of the training labels.",
    verdict="conditional",
    corrected="Flip each label on its own with probability 1/(1 + e^ε). Flipping a fixed number of labels is not private: who knows all "
    "labels but one reads the last one off the number of flips. It is the label that is protected, not the features.",
    chapter="privacy",
    references=("warner1965randomized", "kairouz2016extremal"),
    quantity="share of labels that the mechanism flips at ε = 1",
)
def each_label_is_flipped_on_its_own(seed: int) -> Measurement:
    source, count = torch.Generator().manual_seed(seed), 400_000
    reported = RandomizedResponse(1.0).privatize(torch.zeros(count, dtype=torch.long), generator=source)
    expected = 1 / (1 + math.e)
    # Flip exactly 3 of 10, and let an attacker know nine true labels: the last one follows from the number of flips among the nine.
    labels = torch.randint(0, 2, (2000, 10), generator=source)
    flips = torch.rand(2000, 10, generator=source).argsort(dim=1) < 3
    released = labels ^ flips.long()
    guessed = released[:, 9] ^ ((released[:, :9] != labels[:, :9]).sum(dim=1) < 3).long()
    read = float((guessed == labels[:, 9]).double().mean())
    spread = math.sqrt(expected * (1 - expected) / count)
    return measured(
        float(reported.double().mean()), expected, 5 * spread, conditions=read == 1.0, last_labels_read_when_exactly_three_of_ten_flip=read
    )


@claim(
    "C66",
    statement="The strength of the privacy and the expected error trade off against each other, directly and measurably.",
    verdict="conditional",
    corrected="The price is paid in samples. For every ε > 0 the best classifier is the same as without privacy; about coth²(ε/2) times as many "
    "labels buy back the same precision.",
    chapter="privacy",
    references=("natarajan2013learning", "angluin1988learning"),
    quantity="excess error of a vote of 101 private labels, η = 0.7, ε = 0.5, simulated",
)
def the_price_is_paid_in_samples(seed: int) -> Measurement:
    source, trials, eta, epsilon = torch.Generator().manual_seed(seed), 20_000, 0.7, 0.5
    labels = (torch.rand(trials, 101, generator=source) < eta).long()
    votes = RandomizedResponse(epsilon).privatize(labels, generator=source).double().mean(dim=1)
    lost = float((votes < 0.5).double().mean())
    exact = majority_excess_risk(eta, 101, epsilon=epsilon)
    tail = exact / (2 * eta - 1)
    etas = torch.linspace(0, 1, 1001, dtype=torch.float64)
    flip = RandomizedResponse(epsilon).flip_probability
    unchanged = bool(torch.equal(torch.sign((flip + (1 - 2 * flip) * etas - 0.5).round(decimals=12)), torch.sign((etas - 0.5).round(decimals=12))))
    return measured(
        (2 * eta - 1) * lost,
        exact,
        5 * (2 * eta - 1) * math.sqrt(tail * (1 - tail) / trials),
        conditions=unchanged,
        with_1001_labels=majority_excess_risk(eta, 1001, epsilon=epsilon),
        sample_inflation_at_this_epsilon=sample_inflation(epsilon),
    )


@claim(
    "C67",
    statement="The noise protects the individuals.",
    verdict="conditional",
    corrected="It bounds what one report gives away: the odds of any guess about the label change by at most e^ε. Reports of the same label add "
    "up, and what the features predict isn't covered at all.",
    chapter="privacy",
    references=("warner1965randomized", "dwork2014algorithmic"),
    quantity="an even guess about a label after seeing its report, ε = 1",
)
def one_report_moves_an_even_guess_to_this(seed: int) -> Measurement:
    source, count = torch.Generator().manual_seed(seed), 400_000
    labels = torch.randint(0, 2, (count,), generator=source)
    mechanism = RandomizedResponse(1.0)
    first, second = (mechanism.privatize(labels, generator=source) for _ in range(2))
    posterior = float(labels[first == 1].double().mean())
    twice = float(labels[(first == 1) & (second == 1)].double().mean())
    expected = math.e / (1 + math.e)  # even odds times e^1
    return measured(
        posterior,
        expected,
        5 * math.sqrt(expected * (1 - expected) / (count / 2)),
        conditions=abs(twice - math.e**2 / (1 + math.e**2)) < 0.006,
        after_two_equal_reports=twice,
    )


@claim(
    "X05",
    statement="A loss of the noisy label can equal the clean loss on average.",
    verdict="holds",
    corrected="Natarajan's corrected loss is unbiased and, for the logistic loss, convex; but it has no lower bound.",
    chapter="privacy",
    references=("natarajan2013learning", "patrini2017making"),
    quantity="largest bias of the corrected loss over 200 random logits, ε = 1",
)
def the_backward_loss_is_unbiased(seed: int) -> Measurement:
    mechanism = RandomizedResponse(1.0)
    logits = 3 * torch.randn(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    clean = -logits.log_softmax(dim=1)
    noisy = torch.stack([mechanism.backward_loss(logits, torch.full((200,), label), reduction="none") for label in range(2)], dim=1)
    bias = float((noisy @ mechanism.transition.T - clean).abs().max())
    confident = torch.tensor([[0.0, 5.0]], dtype=torch.float64)
    reward = float(mechanism.backward_loss(confident, torch.tensor([1])))
    return measured(bias, 0.0, 1e-12, conditions=reward < -2.9, loss_of_an_honest_report_at_margin_5=reward)
