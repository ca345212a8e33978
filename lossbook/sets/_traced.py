"""Where a loss is traced, mapped or has no values: there it is made of torch's own operations alone, and the matching is one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.utils.rnn import pad_sequence

_PLAIN = (Tensor, torch.nn.Parameter)  # behind the door only tensors with a dispatch of their own are of another class


def traced(tensors: Iterable[Tensor]) -> bool:
    """True in `torch.compile`, `torch.export`, `torch.func` and forward mode, for fake and meta tensors and under a mode that sees every operation.

    Everywhere else the numbers can be handed to numpy and back, and slopes that are written out take the place of torch's own.
    """
    if torch.compiler.is_compiling() or torch._C._functorch.get_dynamic_layer_stack_depth() or torch._C._len_torch_dispatch_stack():
        return True
    return forward_ad._current_level >= 0 or any(type(tensor) not in _PLAIN or tensor.is_meta for tensor in tensors)


def several(gradient: Tensor) -> bool:
    """True for many gradients at once, as `is_grads_batched` and `torch.func.vmap` of a backward pass bring them: nothing may be written in place."""
    return torch._C._functorch.is_legacy_batchedtensor(gradient) or torch._C._functorch.is_functorch_wrapped_tensor(gradient)


def plain_slope(leaf: Tensor, losses: Callable[[Tensor], Any], gradients: Any) -> Tensor:
    """The gradient of `losses` by torch's own rules: one that can itself be differentiated where the one that asks for it wants that."""
    create = torch.is_grad_enabled()
    with torch.enable_grad():
        leaf = leaf if create else leaf.detach().requires_grad_()
        return torch.autograd.grad(losses(leaf), leaf, gradients, create_graph=create)[0]


def padded(values: list[Tensor], *, plain: bool) -> Tensor:
    """[N_b, ...] of every image as [B, N, ...], with zeros after an image's own; `plain` where an image's may be a tensor inside of `vmap`."""
    if not plain:
        return pad_sequence(values, batch_first=True)
    most = max(len(value) for value in values)
    return torch.stack([F.pad(value, [0, 0] * (value.ndim - 1) + [0, most - len(value)]) for value in values])
