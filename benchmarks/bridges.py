"""Losses of JAX and of numpy as functions of torch tensors, so that the bench can take them.

A bridge carries values and dtypes, and of JAX the gradient. What is torch's own (autocast, `vmap`, `torch.compile`, subclasses of tensors) it can't
carry, and it refuses that itself: the report says "not supported", which is a limit of the bridge and says nothing of the library.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]
Array = Callable[..., Any]  # a function of arrays


def from_jax(loss: Array) -> Loss:
    """A loss of two JAX arrays; float64 stays float64, whatever the process has set."""
    return lambda logits, targets: _carried(_ThroughJax, loss, logits, targets)


def from_numpy(loss: Array) -> Loss:
    """A loss of two numpy arrays; it has no gradient, and its value hangs on no graph."""
    return lambda logits, targets: _carried(_ThroughNumpy, loss, logits, targets)


def _carried(way: type[_Bridge], loss: Any, logits: Tensor, targets: Tensor) -> Tensor:
    if torch.compiler.is_compiling():
        _refuse("torch.compile")
    if torch.is_autocast_enabled("cpu"):
        _refuse("autocast")
    if any(type(tensor) not in (Tensor, torch.nn.Parameter) for tensor in (logits, targets)):
        _refuse("subclass of torch.Tensor")
    return way.apply(loss, logits, targets)


def _refuse(what: str) -> NoReturn:
    raise NotImplementedError(f"the bridge carries no {what}")


class _Bridge(torch.autograd.Function):
    """What both ways refuse: to be mapped."""

    @staticmethod
    def vmap(*_: Any) -> NoReturn:
        _refuse("torch.vmap")


class _ThroughJax(_Bridge):
    """The value of a JAX function, and its vector-Jacobian product as the gradient."""

    @staticmethod
    def forward(loss: Array, logits: Tensor, targets: Tensor) -> Tensor:
        return _called(loss, logits, targets)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.loss, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:
        def slope(logits: Any, targets: Any, gradient: Any) -> Any:
            return jax.vjp(lambda scores: ctx.loss(scores, targets), logits)[1](gradient)[0]

        return None, _called(slope, *ctx.saved_tensors, gradient), None


class _ThroughNumpy(_Bridge):
    """The value of a numpy function, and nothing else."""

    @staticmethod
    def forward(loss: Array, logits: Tensor, targets: Tensor) -> Tensor:
        if torch.bfloat16 in (logits.dtype, targets.dtype):
            _refuse("bfloat16, which numpy does not have")
        return torch.tensor(np.asarray(loss(logits.detach().numpy(), targets.detach().numpy())))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.mark_non_differentiable(output)


def _called(function: Array, *tensors: Tensor) -> Tensor:
    """A JAX function of tensors; strides, which JAX does not have, are lost. JAX computes in 64 bits where it is handed such floats, else in 32."""
    wide = any(tensor.dtype == torch.float64 for tensor in tensors)
    plain = [tensor.int() if tensor.dtype == torch.int64 and not wide else tensor for tensor in tensors]
    with jax.enable_x64(wide):
        arrays = [jnp.from_dlpack(tensor.detach().contiguous(), copy=True) for tensor in plain]
        return torch.from_dlpack(function(*arrays)).clone()
