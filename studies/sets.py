"""Does a matching of slots and objects find each object once? By how objects are given to slots, and with a clean-up or without.

A strip is 8 pixels high and 32 wide. On a ground of stripes on the left and speckle on the right, which are stuff, lie one to three scanned digits,
which are things. A panoptic map gives each of the 32 columns a class and an instance. What decides is its panoptic quality.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from lossbook.book import data
from lossbook.panoptic import panoptic_map, panoptic_quality
from studies import Effect, Finding, Runs, Study, above, paired, unclear, within

DIGIT, STRIPES, SPECKLE, NO_OBJECT, VOID = 0, 1, 2, 3, 9
COLUMNS, SLOTS, WIDTH = 32, 12, 16
TRAINING, HELD_OUT, BATCH, STEPS, RATE = 600, 100, 8, 900, 0.015
GROUP = tuple(range(10))  # seeds whose networks learn side by side
PLACES = (torch.arange(SLOTS) + 0.5) / SLOTS  # where the slots stand, from 0 to 1
ACROSS = (torch.arange(COLUMNS) + 0.5) / COLUMNS
CLASS_WEIGHT, MASK_WEIGHT, DICE_WEIGHT = 2.0, 5.0, 2.0
MOST = 5  # segments of a strip


class Slots(nn.Module):
    """Slots that look at strips [B, 8, 32] and, with `talk`, at each other: class logits [B, 12, 4] and mask logits [B, 12, 32]."""

    def __init__(self, *, talk: bool = True) -> None:
        super().__init__()
        self.see = nn.Sequential(nn.Conv1d(8, WIDTH, 5, padding=2), nn.ReLU(), nn.Conv1d(WIDTH, WIDTH, 5, padding=4, dilation=2), nn.ReLU())
        self.query = nn.Parameter(0.5 * torch.randn(SLOTS, WIDTH))
        self.look = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(2))
        self.talk = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(2 if talk else 0))
        self.think = nn.ModuleList(nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 32), nn.ReLU(), nn.Linear(32, WIDTH)) for _ in range(2))
        self.norm, self.draw = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH + 3)
        self.name = nn.Sequential(nn.Linear(2 * WIDTH, 32), nn.ReLU(), nn.Linear(32, 4))
        away = 4 * (ACROSS - PLACES[:, None])
        self.register_buffer("near", -4 * away.square())  # a slot looks at its neighbourhood first
        self.register_buffer("away", torch.stack([away, away.square(), torch.ones_like(away)], dim=1))  # [12, 3, 32]

    def forward(self, strips: Tensor) -> tuple[Tensor, Tensor]:
        columns = self.see(strips - 0.3).transpose(1, 2)
        slots = self.query.expand(len(strips), -1, -1)
        for turn, think in enumerate(self.think):
            wanted = self.look[turn](slots) @ columns.transpose(1, 2)
            slots = slots + (wanted + self.near).softmax(-1) @ columns
            if len(self.talk):
                slots = slots + (self.talk[turn](slots) @ slots.transpose(1, 2) / WIDTH).softmax(-1) @ slots
            slots = slots + think(slots)
        slots = self.norm(slots)
        weights = self.draw(slots)
        masks = weights[..., :WIDTH] @ columns.transpose(1, 2) + torch.einsum("bsk,skc->bsc", weights[..., WIDTH:], self.away)
        own = masks.sigmoid()
        inside = own @ columns / (own.sum(-1, keepdim=True) + 1)  # what the slot's own mask covers
        return self.name(torch.cat([slots, inside], dim=-1)), masks


class Strips(NamedTuple):
    """Images [S, 8, 32], panoptic maps [S, 1, 32, 2], and the segments: labels [S, 5], masks [S, 5, 32], filled up with empty ones, and how many."""

    images: Tensor
    maps: Tensor
    labels: Tensor
    masks: Tensor
    sizes: Tensor


@cache
def strips(seed: int, held_out: bool) -> Strips:
    """Strips to learn from, or others, with other scans."""
    generator = torch.Generator().manual_seed(2 * seed + held_out)
    scans, _ = data.digits()
    order = torch.randperm(len(scans), generator=torch.Generator().manual_seed(seed))
    pool, count = (order[1200:], HELD_OUT) if held_out else (order[:1200], TRAINING)
    scans = scans[pool].float()
    border = torch.randint(4, COLUMNS - 3, (count,), generator=generator)
    stuff = (torch.arange(COLUMNS) >= border[:, None]).long()  # [S, 32]
    phase = 6.3 * torch.rand(count, 1, 1, generator=generator)
    stripes = 0.25 + 0.2 * torch.sin(1.6 * torch.arange(COLUMNS) + 0.8 * torch.arange(8)[:, None] + phase)
    images = torch.where(stuff[:, None] == 0, stripes, 0.5 * torch.rand(count, 8, COLUMNS, generator=generator))
    maps = torch.stack([stuff + 1, torch.zeros_like(stuff)], dim=-1)
    for image, picture in zip(images, maps, strict=True):
        wanted, start = int(torch.randint(1, 4, (), generator=generator)), 0
        for number in range(1, wanted + 1):
            scan = scans[int(torch.randint(len(scans), (), generator=generator))]
            inked = (scan > 0.3).any(0).nonzero().flatten()
            scan = scan[:, int(inked[0]) : int(inked[-1]) + 1]
            room = COLUMNS - 8 * (wanted - number) - scan.shape[1]
            start += int(torch.randint(0, (room - start) // (wanted - number + 1) + 1, (), generator=generator))
            span = slice(start, start + scan.shape[1])
            image[:, span] = image[:, span] * (1 - scan) + scan
            picture[span] = torch.tensor([DIGIT, number])
            start += scan.shape[1]
    names = torch.cat([1 + torch.arange(MOST - 2), torch.tensor([0, 0])])  # of segments: three digits, then grounds
    kinds = torch.tensor([DIGIT] * (MOST - 2) + [STRIPES, SPECKLE])
    masks = (maps[:, None] == torch.stack([kinds, names], dim=1)[:, None]).all(-1)  # [S, 5, 32]
    order = masks.any(-1).long().argsort(dim=1, descending=True, stable=True)  # those that are there first
    masks = masks.gather(1, order[..., None].expand_as(masks))
    return Strips(images, maps[:, None], kinds[order], masks.float(), masks.any(-1).sum(1))


def pair_costs(masks: Tensor, truth: Tensor) -> Tensor:
    """What every slot's mask costs with every segment [..., S, N]: MaskFormer's focal loss, a mean over the columns, and dice."""
    p, truth = masks.sigmoid(), truth.transpose(-1, -2)
    towards, away = 0.25 * (1 - p).square() * F.softplus(-masks), 0.75 * p.square() * F.softplus(masks)
    focal = (towards @ truth + away @ (1 - truth)) / COLUMNS
    dice = 1 - (2 * p @ truth + 1) / (p.sum(-1, keepdim=True) + truth.sum(-2, keepdim=True) + 1)
    return MASK_WEIGHT * focal + DICE_WEIGHT * dice


def paired_off(rule: str, costs: Tensor, masks: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Image, slot and segment of every pair."""
    if rule == "nearest":  # the segment whose middle is nearest to the slot's place
        middles = (masks @ ACROSS / masks.sum(-1).clamp(min=1)).masked_fill(masks.sum(-1) == 0, 9.0)
        segments = (PLACES[:, None] - middles[:, None]).abs().argmin(-1)
        return torch.arange(len(costs)).repeat_interleave(SLOTS), torch.arange(SLOTS).repeat(len(costs)), segments.flatten()
    copies, found = (2 if rule == "twice" else 1), []
    for image, (cost, size) in enumerate(zip(costs.numpy(), sizes.tolist(), strict=True)):
        slots, segments = linear_sum_assignment(np.tile(cost[:, :size], copies))
        found.append(np.stack([np.full_like(slots, image), slots, segments % size]))
    image, slot, segment = torch.from_numpy(np.concatenate(found, axis=1))
    return image, slot, segment


def set_loss(rule: str, logits: Tensor, masks: Tensor, told: Strips, no_object_weight: float) -> Tensor:
    """`MaskSetLoss` for a batch in which no image has more than five segments: match, then pay for the pairs and for slots without a partner."""
    logs, costs = logits.log_softmax(-1), pair_costs(masks, told.masks)
    said = logs.detach().exp().gather(-1, told.labels[:, None].expand(-1, SLOTS, -1))
    image, slot, segment = paired_off(rule, costs.detach() - CLASS_WEIGHT * said, told.masks, told.sizes)
    wanted = torch.full(logits.shape[:2], NO_OBJECT)
    wanted[image, slot] = told.labels[image, segment]
    weight = torch.where(wanted == NO_OBJECT, no_object_weight, 1.0)
    classes = -(weight * logs.gather(-1, wanted[..., None])[..., 0]).sum() / weight.sum()
    return CLASS_WEIGHT * classes + costs[image, slot, segment].sum() / len(image)


@cache
def trained(rule: str, seeds: tuple[int, ...], no_object_weight: float, steps: int = STEPS) -> list[tuple[Slots, float]]:
    """A network for each seed, and by how much its loss still moved, relative to it, from the last tenth of the steps but one to the last.

    They learn side by side, since that is quicker: all they share is the numbers of pairs and of slots, by which the loss of the batch is divided.
    """
    seen = [strips(seed, held_out=False) for seed in seeds]
    networks = [begun(rule, seed) for seed in seeds]
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]
    weights, fixed = stack_module_state(networks)
    every = vmap(lambda weights, fixed, images: functional_call(networks[0], (weights, fixed), (images,)))
    optimizer, path = torch.optim.Adam(weights.values(), lr=RATE), []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * min(1, step / 20, 2 * (1 - step / steps))
        rows = [torch.randint(TRAINING, (BATCH,), generator=draw) for draw in draws]
        drawn = [Strips(*(part[own] for part in all_)) for all_, own in zip(seen, rows, strict=True)]
        told = Strips(*(torch.cat(parts) for parts in zip(*drawn, strict=True)))
        logits, masks = every(weights, fixed, told.images.unflatten(0, (len(seeds), BATCH)))  # type: ignore[no-untyped-call]
        loss = set_loss(rule, logits.flatten(0, 1), masks.flatten(0, 1), told, no_object_weight)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        path.append(float(loss.detach()))
    tenth = steps // 10
    moved = (sum(path[-2 * tenth : -tenth]) - sum(path[-tenth:])) / sum(path[-tenth:])
    for place, network in enumerate(networks):
        network.load_state_dict({name: values[place] for name, values in (weights | fixed).items()})
    return [(network.eval(), moved) for network in networks]


def begun(rule: str, seed: int) -> Slots:
    """A network before it has learned."""
    torch.manual_seed(seed)
    return Slots(talk=rule != "once, no talk")


def ious(masks: Tensor, others: Tensor) -> Tensor:
    """Of every mask [N, 32] with every other [M, 32]."""
    mine, theirs = masks.float(), others.float()
    both = mine @ theirs.T
    return both / (mine.sum(1)[:, None] + theirs.sum(1) - both).clamp(min=1)


def cleaned_up(scores: Tensor, drawn: Tensor) -> Tensor:
    """The slots that are left: the surest first, each is dropped whose mask has an IoU above one half with a kept one of its class."""
    (sure, said), kept = scores.softmax(-1).max(-1), []  # type: ignore[var-annotated]
    overlaps = ious(drawn > 0, drawn > 0)
    for slot in sure.argsort(descending=True).tolist():
        if said[slot] < 3 and all(said[slot] != said[other] or overlaps[slot, other] <= 0.5 for other in kept):
            kept.append(slot)
    return torch.tensor(sorted(kept), dtype=torch.int64)


def run(arm: str, seed: int, *, no_object_weight: float) -> dict[str, float]:
    """Train on strips, and judge the maps of others.

    Args:
        arm: How segments are given to slots. "once": by the Hungarian method. "once, no talk": the slots don't see each other. "twice": each segment
            is written down two times. "nearest": each slot answers for the segment whose middle is nearest to its place. With ", cleaned": of masks
            of one class with an IoU above one half only the surest is kept.
        seed: Of strips, start and batches.
        no_object_weight: Of a slot without a partner, in the cross-entropy.

    Returns:
        In percent: `lost`, 100 minus panoptic quality, a mean over three classes; `digits`, `sq`, `rq`, the quality of digits and its parts; `once`,
        `more`, `never`: digits that so many slots claim, with a probability above one half and a mask whose IoU with theirs is above one half.
        `moved`: by what share the loss of the ten fell from the last tenth of the steps but one to the last.
    """
    rule = arm.removesuffix(", cleaned")
    group = GROUP if seed in GROUP else (seed,)
    network, moved = trained(rule, group, no_object_weight if rule != "nearest" else 0.1)[group.index(seed)]
    return judged(network, strips(seed, held_out=True), cleaned=arm != rule) | {"moved": moved}


@torch.no_grad()
def judged(network: Slots, held: Strips, *, cleaned: bool) -> dict[str, float]:
    """Panoptic quality in percent, and how many slots claim a digit."""
    maps, claims = [], []
    for scores, drawn, labels, masks in zip(*network(held.images), held.labels, held.masks, strict=True):
        if cleaned:
            kept = cleaned_up(scores, drawn)
            scores, drawn = scores[kept], drawn[kept]
        maps.append(panoptic_map(scores, drawn[:, None], things=[DIGIT], void=VOID, min_score=0.5))
        sure = scores.softmax(-1)[:, DIGIT] > 0.5
        claims.append((ious(drawn[sure] > 0, masks[(labels == DIGIT) & masks.any(-1)]) > 0.5).sum(0))
    found = panoptic_quality(torch.stack(maps), held.maps, things=[DIGIT], stuff=[STRIPES, SPECKLE], void=VOID)
    counts, digits = torch.cat(claims), found.by_class[DIGIT]
    return {
        "lost": 100 - 100 * found.pq,
        "digits": 100 * digits.pq,
        "sq": 100 * digits.sq,
        "rq": 100 * digits.rq,
        "once": 100 * float((counts == 1).double().mean()),
        "more": 100 * float((counts > 1).double().mean()),
        "never": 100 * float((counts == 0).double().mean()),
    }


RULES = ("once", "once, no talk", "twice", "nearest")
MOVED = 0.25

STUDY = Study(
    run=run,
    chapter="sets",
    question="Does a matching of slots with objects find each object once, who makes slots differ, and what is left of it beside a clean-up?",
    arms=tuple(arm + cleaned for arm in RULES for cleaned in ("", ", cleaned")),
    conditions={"no_object_weight": (0.1, 1.0)},
    tuned={arm + cleaned: {} for arm in RULES for cleaned in ("", ", cleaned")},
    least="lost",
    tuning_seeds=(),
    seeds=GROUP,
    end=f"Each training had {STEPS} steps on {BATCH} strips each, its rate falling to 0, and no setting was tuned. From the last tenth of the steps "
    f"but one to the last the loss still fell, by less than {MOVED:.0%}.",
    ended=lambda numbers: abs(numbers["moved"]) < MOVED,
)


def differ(runs: Runs, number: str, arm: str, other: str, weight: float = 0.1) -> Effect:
    """An arm's number minus another's, at a weight of "no object"."""
    return runs.difference(number, arm, other, no_object_weight=weight)


def by_weight(runs: Runs, number: str) -> Effect:
    """Of *once*, without a clean-up: the number at DETR's weight of "no object" minus that at 1."""
    low, full = (runs.by_seed(number, "once", no_object_weight=weight) for weight in (0.1, 1.0))
    return paired([low[seed] - full[seed] for seed in low])


FINDINGS = (
    Finding(
        "B150",
        "Trained on a one-to-one matching with DETR's weight of 0.1, {mean:.0f} in a hundred new digits are claimed more than once or never.",
        "digits of new strips that two slots claim or more, or none, in percent",
        lambda runs: paired([100 - once for once in runs.by_seed("once", "once", no_object_weight=0.1).values()]),
        above(0),
    ),
    Finding(
        "B151",
        "That weight is a price of duplicates: at 0.1 {mean:.0f} in a hundred more digits are claimed twice than at 1.",
        "digits claimed more than once, weight 0.1 minus weight 1, in percent",
        lambda runs: by_weight(runs, "more"),
        above(0),
    ),
    Finding(
        "B152",
        "Whether a full weight makes misses more common for slots that talk isn't clear: at 1, between {low:.1f} and {high:.1f} in a hundred more "
        "digits are claimed by nobody than at 0.1.",
        "digits never claimed, weight 1 minus weight 0.1, in percent",
        lambda runs: paired([-each for each in by_weight(runs, "never").each]),
        unclear(),
    ),
    Finding(
        "B153",
        "Slots that have places and queries of their own need not talk: without it the share of digits claimed twice differs by less than five in a "
        "hundred.",
        "digits claimed more than once, without talk minus with it, weight 0.1, in percent",
        lambda runs: differ(runs, "more", "once, no talk", "once"),
        within(-5, 5),
    ),
    Finding(
        "B154",
        "Written down twice and left so, {mean:.0f} in a hundred more digits are claimed twice than written down once.",
        "digits claimed more than once, twice minus once, no clean-up, weight 0.1, in percent",
        lambda runs: differ(runs, "more", "twice", "once"),
        above(0),
    ),
    Finding(
        "B155",
        "One-to-many with a clean-up claims {mean:.0f} in a hundred more digits exactly once than one-to-one without.",
        "digits claimed once, twice cleaned up minus once as it is, weight 0.1, in percent",
        lambda runs: differ(runs, "once", "twice, cleaned", "once"),
        above(0),
    ),
    Finding(
        "B156",
        "With a clean-up for both it is not clear which of the two claims more digits once.",
        "digits claimed once, once minus twice, both cleaned up, weight 0.1, in percent",
        lambda runs: differ(runs, "once", "once, cleaned", "twice, cleaned"),
        unclear(),
    ),
    Finding(
        "B157",
        "Where each slot takes the nearest segment, a clean-up is not enough: the panoptic quality of digits stays {mean:.0f} points below that of a "
        "matching cleaned up alike.",
        "PQ of digits, once minus nearest, both cleaned up, weight 0.1, in points",
        lambda runs: differ(runs, "digits", "once, cleaned", "nearest, cleaned"),
        above(0),
    ),
)
