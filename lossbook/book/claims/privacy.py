"""What a secret costs: claims C65 to C67, and the corrected loss X05."""

from __future__ import annotations

import math

import torch

from lossbook.book.claims.ledger import Measurement, claim, measured
from lossbook.privacy import RandomizedResponse, majority_excess_risk, sample_inflation


@claim(
    "C65",
    statement="For privacy one might use randomised response: flip a certain fraction of the training labels before the model sees them.",
    verdict="holds",
    corrected="It is so: with each label flipped on its own with probability 1/(1 + e^ε), no report changes the odds between two truths by more than "
    "a factor e^ε. The flips must be independent: where a fixed number is flipped, who knows all labels but one reads the last one off.",
    chapter="privacy",
    references=("warner1965randomized", "kairouz2016extremal"),
    quantity="share of labels flipped by the mechanism that promises ε = 1",
)
def flips_keep_the_promise(seed: int) -> Measurement:
    source, count = torch.Generator().manual_seed(seed), 400_000
    mechanism = RandomizedResponse(1.0)
    ones = [float(mechanism.privatize(torch.full((count,), truth), generator=source).double().mean()) for truth in (0, 1)]  # P(report 1 | truth)
    found = max(math.log(ones[1] / ones[0]), math.log((1 - ones[0]) / (1 - ones[1])))  # the largest change of log odds by a report
    # Flip exactly 3 of 10, and let an attacker know nine true labels: the last one follows from the number of flips among the nine.
    labels = torch.randint(0, 2, (2000, 10), generator=source)
    flips = torch.rand(2000, 10, generator=source).argsort(dim=1) < 3
    released = labels ^ flips.long()
    guessed = released[:, 9] ^ ((released[:, :9] != labels[:, :9]).sum(dim=1) < 3).long()
    read = float((guessed == labels[:, 9]).double().mean())
    expected = 1 / (1 + math.e)
    return measured(
        ones[0],
        expected,
        5 * math.sqrt(expected * (1 - expected) / count),
        conditions=abs(found - 1.0) < 0.02 and read == 1.0,
        largest_change_of_the_log_odds_by_a_report=found,
        last_labels_read_when_exactly_three_of_ten_flip=read,
    )


@claim(
    "C66",
    statement="The strength of the guarantee, ε, and the expected error of the final model trade off directly, and the trade-off can be computed.",
    verdict="holds",
    corrected="It is so with finitely many labels. The best decision is the same for every ε > 0, so the price is paid in labels: to estimate "
    "the share of yes, 1 + 1/(4η(1 − η) sinh²(ε/2)) times as many, which is coth²(ε/2) at η = 1/2 and more everywhere else.",
    chapter="privacy",
    references=("natarajan2013learning", "angluin1988learning"),
    quantity="excess error of a vote of 101 private labels, η = 0.7, ε = 0.5, simulated",
)
def less_privacy_fewer_mistakes(seed: int) -> Measurement:
    source, trials, eta, epsilon = torch.Generator().manual_seed(seed), 20_000, 0.7, 0.5

    def simulated(epsilon: float) -> float:
        labels = (torch.rand(trials, 101, generator=source) < eta).long()
        votes = RandomizedResponse(epsilon).privatize(labels, generator=source).double().mean(dim=1)
        return (2 * eta - 1) * float((votes < 0.5).double().mean())

    found = {each: simulated(each) for each in (0.25, epsilon, 1.0, 2.0)}
    exact = majority_excess_risk(eta, 101, epsilon=epsilon)
    tail = exact / (2 * eta - 1)
    return measured(
        found[epsilon],
        exact,
        5 * (2 * eta - 1) * math.sqrt(tail * (1 - tail) / trials),
        conditions=found[0.25] > found[epsilon] > found[1.0] > found[2.0],
        at_a_quarter=found[0.25],
        at_1=found[1.0],
        at_2=found[2.0],
        with_1001_labels=majority_excess_risk(eta, 1001, epsilon=epsilon),
        labels_for_one_plain_one_at_this_share=sample_inflation(epsilon, eta=eta),
    )


@claim(
    "C67",
    statement="The noise protects the individuals.",
    verdict="conditional",
    corrected="It bounds what one report gives away: the odds of any guess about the label change by at most e^ε. Reports of the same label add "
    "up, and neither the features nor what they predict is covered.",
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
