"""Should a score know how well its box fits? Scanned digits in small scenes, a box fitted from each of 64 anchors, and four ways of scoring it.

All ways score the same boxes. What decides is average precision on scenes of other digits, after non-maximum suppression.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook import boxes, focal
from lossbook.book import data
from lossbook.crossentropy import binary_cross_entropy
from studies import Effect, Finding, Runs, Study, above, paired, within

SCENES, FITTING, SCORING = 898, 200, 450  # all; those that boxes are fitted on; those that scores learn from. The others decide
SIZE, DIGITS, MOST, NEAR = 32, 10, 3, 0.3  # pixels, classes, objects in a scene at most, IoU from which on an anchor has a box to fit
FIT_STEPS, FIT_RATE, STEPS, BATCH, UNITS, DECAY = 500, 0.005, 500, 512, 64, 0.01
LEVELS = torch.arange(0.5, 0.96, 0.05)  # of the IoU from which on a box is a find
SUPPRESS, BEST = 0.5, 20  # a box goes whose IoU with a better one of its class is above this; so many a class and scene are looked at


def run(arm: str, seed: int, *, rate: float, bar: float = 0.5) -> dict[str, float]:
    """Fit boxes, learn scores for them, and judge both on other scenes.

    Args:
        arm: The target of the right digit's score where the IoU of a box reaches the bar; it is 0 elsewhere, and for the other digits. "plain": 1,
            under cross-entropy; "IoU": the IoU, under cross-entropy; "quality focal" and "varifocal": the IoU, under these; "two scores": 1, under
            cross-entropy, and a second score that learns the IoU of these boxes, and multiplies the first.
        seed: Of which scenes are for what, of the networks' start, and of the batches.
        rate: Adam's for the scores, at the start; it falls to 0.
        bar: The least IoU of a box that has an object.

    Returns:
        In percent `AP`, the mean of average precision over ten levels of IoU, what is `lost` of it, `AP50` and `AP75`, at two of them; `read`,
        of the digits, those whose best box has its highest score for the right one; `moved`, by how much AP changed in the last twentieth of the
        steps. Of the boxes with an IoU of one half at least: `said`, the mean score of the right digit, `quality`, their mean IoU, and `agreed`, the
        correlation of the two. `fits75`: of the digits, those that some box fits with an IoU of 0.75, in percent.
    """
    learn, judge = the_boxes(seed)
    late, weights = learned(arm, learn, seed, rate, bar)
    before, scores = (scored(arm, parts, judge.views) for parts in (late, weights))
    precision, earlier = average_precision(judge, scores), average_precision(judge, before)
    best, there = boxes.pairwise_iou(judge.fitted, judge.objects).max(dim=1), judge.names >= 0
    right = scores.argmax(dim=2).gather(1, best.indices) == judge.names
    close = judge.quality >= 0.5
    own, quality = scores.gather(2, judge.labels.clamp_min(0)[..., None])[..., 0][close], judge.quality[close]
    return {
        "AP": 100 * float(precision.mean()),
        "lost": 100 - 100 * float(precision.mean()),
        "AP50": 100 * float(precision[0]),
        "AP75": 100 * float(precision[5]),
        "read": 100 * float(right[there].double().mean()),
        "moved": 100 * abs(float(precision.mean() - earlier.mean())),
        "said": float(own.mean()),
        "quality": float(quality.mean()),
        "agreed": float(torch.corrcoef(torch.stack([own, quality]))[0, 1]),
        "fits75": 100 * float((best.values[there] >= 0.75).double().mean()),
    }


class Scenes(NamedTuple):
    """S pictures, their objects, and what 64 anchors show of them."""

    images: Tensor  # [S, 32, 32]
    objects: Tensor  # [S, 3, 4]; where there are fewer, boxes without area
    names: Tensor  # [S, 3]; −1 where there are fewer
    views: Tensor  # [S, 64, pixels]

    def some(self, rows: Tensor) -> Scenes:
        """Some of them."""
        return Scenes(*(part[rows] for part in self))


class Boxes(NamedTuple):
    """Of S scenes: 64 fitted boxes each, what they show, their IoU with the nearest object and its label; and the objects."""

    images: Tensor  # [S, 32, 32]
    fitted: Tensor  # [S, 64, 4]
    views: Tensor  # [S, 64, pixels]
    quality: Tensor  # [S, 64], the IoU
    labels: Tensor  # [S, 64]
    objects: Tensor  # [S, 3, 4]
    names: Tensor  # [S, 3]


Weights = tuple[Tensor, ...]


@cache
def the_scenes() -> Scenes:
    """Scenes of one to three digits; each has two scans of its own to draw from, so that no two scenes share one."""
    source = torch.Generator().manual_seed(0)
    pools = torch.randperm(2 * SCENES, generator=source).view(SCENES, 2)
    objects, names, images = torch.zeros(SCENES, MOST, 4), torch.full((SCENES, MOST), -1), []
    for k, pool in enumerate(pools):
        found = data.digit_scenes(1, generator=source, size=SIZE, fewest=1, most=MOST, pool=pool)
        count = len(found.labels[0])
        objects[k, :count], names[k, :count] = found.boxes_xyxy[0].float(), found.labels[0]
        images.append(found.images[0].float())
    return Scenes(torch.stack(images), objects, names, cut_out(torch.stack(images), anchors().expand(SCENES, -1, -1), 14, 1.8))


def anchors() -> Tensor:
    """64 boxes [64, 4], by centre and size, 8 pixels wide and 12 high, one every 4 pixels."""
    middles = torch.arange(2.0, SIZE, 4)
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    return torch.stack([x.flatten(), y.flatten(), torch.full((64,), 8.0), torch.full((64,), 12.0)], dim=1)


def cut_out(images: Tensor, around: Tensor, side: int, margin: float) -> Tensor:
    """What boxes [S, K, 4], by centre and size, show with their surroundings, [S, K, side²]."""
    line = (torch.arange(side) + 0.5) / side * 2 - 1
    x, y = (2 * (around[..., k, None] + margin / 2 * around[..., k + 2, None] * line) / SIZE - 1 for k in (0, 1))
    count, each = around.shape[:2]
    grid = torch.stack([x[:, :, None, :].expand(-1, -1, side, -1), y[:, :, :, None].expand(-1, -1, -1, side)], dim=-1)
    return F.grid_sample(images[:, None], grid.reshape(count, each * side, side, 2), align_corners=False).reshape(count, each, side * side)


def network(inputs: int, outputs: int, source: torch.Generator) -> Weights:
    """A layer of units and a last one, as their weights and biases."""
    first, last = (torch.randn(shape, generator=source) / shape[0] ** 0.5 for shape in ((inputs, UNITS), (UNITS, outputs)))
    return tuple(part.requires_grad_() for part in (1.4 * first, torch.zeros(UNITS), 0.1 * last, torch.zeros(outputs)))


def forward(weights: Weights, views: Tensor) -> Tensor:
    """What the network says of views [..., pixels]."""
    first, bias, last, end = weights
    return (views @ first + bias).relu() @ last + end


def descend(weights: Weights, loss: Callable[[int], Tensor], rate: float, steps: int) -> Weights:
    """Adam with weight decay and a rate that falls to 0 in a straight line; the weights as they were a twentieth of the steps before the end."""
    optimizer, late = torch.optim.AdamW(weights, lr=rate, weight_decay=DECAY, fused=True), weights
    for step in range(steps):
        if step == steps - steps // 20:
            late = tuple(part.detach().clone() for part in weights)
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        optimizer.zero_grad()
        loss(step).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return late


def moved(around: Tensor, offsets: Tensor) -> Tensor:
    """Boxes by centre and size, moved by shares of their sides, which are multiplied by exponentials."""
    return torch.cat([around[..., :2] + offsets[..., :2] * around[..., 2:], around[..., 2:] * offsets[..., 2:].clamp(-1.5, 1.5).exp()], dim=-1)


@cache
def the_boxes(seed: int) -> tuple[Boxes, Boxes]:
    """Boxes fitted by GIoU to the digits of some scenes, then laid over those that the scores learn from and over those that decide."""
    source, laid = torch.Generator().manual_seed(7000 + seed), anchors()
    fit, learn, judge = (the_scenes().some(rows) for rows in torch.randperm(SCENES, generator=source).tensor_split((FITTING, FITTING + SCORING)))
    overlap, nearest = boxes.pairwise_iou(boxes.to_xyxy(laid).expand(FITTING, -1, -1), fit.objects).max(dim=2)
    scene, place = (overlap >= NEAR).nonzero(as_tuple=True)
    target, start, views = fit.objects[scene, nearest[scene, place]], laid[place], fit.views[scene, place]
    weights = network(views.shape[1], 4, source)
    batches = torch.randint(len(views), (FIT_STEPS, 128), generator=source)

    def loss(step: int) -> Tensor:
        rows = batches[step]
        return boxes.giou_loss(boxes.to_xyxy(moved(start[rows], forward(weights, views[rows]))), target[rows])

    descend(weights, loss, FIT_RATE, FIT_STEPS)
    with torch.no_grad():
        learn_from, decide = (looked_at(scenes, moved(laid, forward(weights, scenes.views))) for scenes in (learn, judge))
    return learn_from, decide


def looked_at(scenes: Scenes, around: Tensor) -> Boxes:
    """What fitted boxes show, and how well they fit."""
    fitted = boxes.to_xyxy(around)
    quality, nearest = boxes.pairwise_iou(fitted, scenes.objects).max(dim=2)
    return Boxes(
        scenes.images, fitted, cut_out(scenes.images, around, 12, 1.4), quality, scenes.names.gather(1, nearest), scenes.objects, scenes.names
    )


def learned(arm: str, learn: Boxes, seed: int, rate: float, bar: float = 0.5) -> tuple[Weights, Weights]:
    """A network with ten scores and one more, a twentieth of the steps before the end and at the end."""
    source = torch.Generator().manual_seed(seed)
    weights = network(learn.views.shape[-1], DIGITS + 1, source)
    with torch.no_grad():
        weights[3][:DIGITS] = -3.0  # at first nearly all is background
    views, quality, digit = learn.views.flatten(0, 1), learn.quality.flatten(), F.one_hot(learn.labels.flatten().clamp_min(0), DIGITS)
    fits = (quality >= bar).float()
    wanted = digit * (fits * quality if arm in ("IoU", "quality focal", "varifocal") else fits)[:, None]
    batches = torch.randint(len(views), (STEPS, BATCH), generator=source)
    losses = {"quality focal": focal.quality_focal_loss, "varifocal": focal.varifocal_loss}
    of_scores = losses.get(arm, binary_cross_entropy)

    def loss(step: int) -> Tensor:
        rows = batches[step]
        said = forward(weights, views[rows])
        total = of_scores(said[:, :DIGITS], wanted[rows], reduction="sum")  # type: ignore[operator]
        if arm == "two scores":
            total = total + fits[rows] @ binary_cross_entropy(said[:, DIGITS], quality[rows], reduction="none")
        return total / BATCH  # type: ignore[no-any-return]

    return descend(weights, loss, rate, STEPS), weights


@torch.no_grad()
def scored(arm: str, weights: Weights, views: Tensor) -> Tensor:
    """The scores [S, 64, 10] of boxes."""
    said = forward(weights, views).sigmoid()
    return said[..., :DIGITS] * said[..., DIGITS:] if arm == "two scores" else said[..., :DIGITS]


def suppressed(fitted: Tensor, scores: Tensor, limit: float = SUPPRESS) -> tuple[Tensor, Tensor]:
    """Non-maximum suppression in each of C classes: the best boxes [S, C, 20] from the highest score down, and which of them are kept."""
    order = scores.transpose(1, 2).topk(BEST, dim=2).indices
    overlap, scene = boxes.pairwise_iou(fitted, fitted) > limit, torch.arange(len(order))[:, None]
    kept = torch.ones_like(order, dtype=torch.bool)
    for place in range(BEST - 1):
        alike = overlap[scene, order[:, :, place]].gather(2, order)[:, :, place + 1 :]
        kept[:, :, place + 1 :] &= ~(alike & kept[:, :, place, None])
    return order, kept


def finds(judge: Boxes, order: Tensor, kept: Tensor) -> Tensor:
    """Which boxes are finds at each level [S, C, 20, 10]: an object of the class is there that no better box has found."""
    overlap, scene = boxes.pairwise_iou(judge.fitted, judge.objects), torch.arange(len(order))[:, None]
    mine = judge.names[:, None, :] == torch.arange(DIGITS)[:, None]  # [S, C, 3]
    free, found = mine[..., None].expand(*mine.shape, len(LEVELS)).clone(), []
    for place in range(BEST):
        best, which = (overlap[scene, order[:, :, place]][..., None] * free).max(dim=2)
        found.append((best >= LEVELS) & kept[:, :, place, None])
        free &= ~(found[-1][:, :, None] & (which[:, :, None] == torch.arange(MOST)[:, None]))
    return torch.stack(found, dim=2)


def average_precision(judge: Boxes, scores: Tensor) -> Tensor:
    """By level of the IoU [10], the mean over the digits of the area under precision by recall."""
    order, kept = suppressed(judge.fitted, scores)
    ranked, found = scores.transpose(1, 2).gather(2, order), finds(judge, order, kept)
    areas = [area(ranked[:, digit][kept[:, digit]], found[:, digit][kept[:, digit]], int((judge.names == digit).sum())) for digit in range(DIGITS)]
    return torch.stack(areas).mean(dim=0)


def area(said: Tensor, found: Tensor, objects: int) -> Tensor:
    """Under the precision, made to fall, by recall: of N boxes, finds or not [N, levels], as their scores sort them."""
    hits = found[said.argsort(descending=True)].double()
    precision = hits.cumsum(dim=0) / torch.arange(1, len(hits) + 1)[:, None]
    falling = precision.flip(0).cummax(dim=0).values.flip(0)
    return (falling * hits).sum(dim=0) / objects


RATES = (0.005, 0.01, 0.015, 0.045)
ARMS = ("plain", "varifocal", "IoU", "quality focal", "two scores")

STUDY = Study(
    run=run,
    chapter="localization",
    question="All score the same boxes: does a score that learns the overlap sort them better than one that learns whether it reaches a bar?",
    arms=ARMS,
    conditions={"bar": (0.5, 0.7)},
    tuned={arm: {"rate": RATES} for arm in ARMS},
    least="lost",
    tuning_seeds=range(100, 102),
    seeds=range(10),
    end=f"Both networks had {STEPS} steps of AdamW, at a rate that fell to 0; in the last twentieth of them AP moved by less than a point.",
    ended=lambda row: row["moved"] < 1,
)


def gain(arm: str, bar: float) -> Callable[[Runs], Effect]:
    """By how much an arm's AP is above that of the plain target, both with one bar."""
    return lambda runs: runs.difference("AP", arm, "plain", bar=bar)


def raised(runs: Runs) -> Effect:
    """What a bar of 0.7 in place of one half does to the AP of the plain target."""
    high, usual = (runs.by_seed("AP", "plain", bar=bar) for bar in (0.7, 0.5))
    return paired([high[seed] - usual[seed] for seed in high])


def best_at_one_half(runs: Runs) -> Effect:
    """By how much the plain target with a bar of 0.7 is above each way that learns the overlap, with a bar of one half: the least clear of these."""
    high = runs.by_seed("AP", "plain", bar=0.7)
    ways = [runs.by_seed("AP", arm, bar=0.5) for arm in ARMS[1:]]
    return min((paired([high[seed] - way[seed] for seed in high], comparisons=len(ways)) for way in ways), key=lambda effect: effect.low)


FINDINGS = (
    Finding(
        "B140",
        "With the usual bar of ½, the overlap as a target, under the same cross-entropy, raises AP by {mean:.1f} points.",
        "AP of IoU minus plain, bar ½, in points",
        gain("IoU", 0.5),
        above(0),
    ),
    Finding(
        "B141",
        "With that bar varifocal loss is {mean:.1f} points of AP above the plain target.",
        "AP of varifocal minus plain, bar ½, in points",
        gain("varifocal", 0.5),
        above(0),
    ),
    Finding(
        "B142",
        "Quality focal loss is {mean:.1f} points above it.",
        "AP of quality focal minus plain, bar ½, in points",
        gain("quality focal", 0.5),
        above(0),
    ),
    Finding(
        "B143",
        "With no overlap in its target, the plain way gains more: a bar of 0.7 in place of ½ raises its AP by {mean:.1f} points.",
        "AP of plain with a bar of 0.7 minus plain with one of ½, in points",
        raised,
        above(0),
    ),
    Finding(
        "B144",
        "That is above each of the four ways that learn the overlap with the usual bar; above the least clear of them, varifocal loss, by {mean:.1f} "
        "points.",
        "AP of plain with a bar of 0.7 minus that of the least clear of the four ways with a bar of ½, in points",
        best_at_one_half,
        above(0),
    ),
    Finding(
        "B145",
        "With a bar of 0.7 the overlap as a target, under cross-entropy, differs from the plain target by less than one point.",
        "AP of IoU minus plain, bar 0.7, in points",
        gain("IoU", 0.7),
        within(-1, 1),
    ),
)
