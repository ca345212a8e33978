"""Element-wise losses in one pass: value and gradient together, piece by piece, nothing kept but the gradient.

On a CPU a fresh tensor of several megabytes is page-faulted in anew at every step, about 1 ns an element, and a loss of a dozen operations makes
two dozen such tensors. Pieces that fit the cache cost none of that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from lossbook._core.reduction import reduce

WHOLE = 2**17  # up to so many elements pieces cost more calls than they save
PIECE = 2**16  # for each of the threads that torch uses: fewer leave some of them idle


class OnePass(NamedTuple):
    """A loss of (logits, targets), twice.

    `plain` gives the element-wise losses with torch's own derivatives, for everything that traces, maps or differentiates twice. `kernel` takes a
    scale and gives losses and slopes d loss / d logits, both times the scale.
    """

    plain: Callable[[Tensor, Tensor], Tensor]
    kernel: Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]


def one_pass(loss: OnePass, logits: Tensor, targets: Tensor, reduction: str) -> Tensor:
    """The reduced loss."""
    if logits.numel() == 0 or targets.requires_grad or _transformed(logits) or _transformed(targets):
        return reduce(loss.plain(logits, targets), reduction)
    result: Tensor = _OnePass.apply(logits, targets, loss, reduction)  # type: ignore[no-untyped-call]
    return result


def _transformed(tensor: Tensor) -> bool:
    """Under `torch.compile` or `torch.func`, with a tangent, or a tensor subclass: there the plain formula is the one to follow."""
    if torch.compiler.is_compiling() or type(tensor) not in (Tensor, torch.nn.Parameter):
        return True
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return True
    return forward_ad.unpack_dual(tensor).tangent is not None  # type: ignore[no-untyped-call]


class _OnePass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, loss: OnePass, reduction: str) -> Tensor:
        ctx.save_for_backward(logits, targets)
        ctx.loss, ctx.reduction = loss, reduction
        value, ctx.slope = _run(loss, logits, targets, reduction)
        return value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        logits, targets = ctx.saved_tensors
        if torch.is_grad_enabled():  # a gradient that will itself be differentiated
            value = reduce(ctx.loss.plain(logits, targets), ctx.reduction)
            return (*torch.autograd.grad(value, logits, gradient, create_graph=True), None, None, None)
        slope, ctx.slope = ctx.slope, None  # handed over, not copied; a second backward pass computes it again
        if slope is None:
            logits, targets = ctx.saved_tensors
            slope = _run(ctx.loss, logits, targets, ctx.reduction)[1]
        if torch._C._functorch.is_legacy_batchedtensor(gradient) or torch._C._functorch.is_functorch_wrapped_tensor(gradient):
            return slope * gradient, None, None, None  # several gradients at once
        if gradient.device.type == "cpu" and gradient.ndim == 0 and gradient.item() == 1:
            return slope, None, None, None
        return slope.mul_(gradient), None, None, None


def _run(loss: OnePass, logits: Tensor, targets: Tensor, reduction: str) -> tuple[Tensor, Tensor]:
    count = logits.numel()
    scale = 1 / count if reduction == "mean" else 1.0
    if count <= WHOLE or logits.device.type != "cpu":
        losses, slope = loss.kernel(logits, targets, scale)
        return losses if reduction == "none" else losses.sum(), slope
    piece = PIECE * torch.get_num_threads()
    slopes = logits.new_empty(logits.shape)
    losses = logits.new_empty(logits.shape if reduction == "none" else (0,))
    sums = logits.new_empty(-(-count // piece))  # beforehand: a number kept from each piece would leave a hole that no later piece fits
    pieces = [torch.split(tensor.view(-1), piece) for tensor in (logits.contiguous(), targets.contiguous(), slopes)]
    for index, (logit, target, slope) in enumerate(zip(*pieces, strict=True)):
        values, found = loss.kernel(logit, target, scale)
        slope.copy_(found)
        if reduction == "none":
            losses.view(-1)[index * piece : index * piece + len(values)] = values
        else:
            sums[index] = values.sum()
        del values, found  # or the next piece would need room beside them
    return losses if reduction == "none" else sums.sum(), slopes
