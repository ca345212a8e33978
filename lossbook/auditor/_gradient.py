"""Is autograd's gradient the derivative of the value, and does the loss leave its arguments alone?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lossbook.auditor._bench import Bench, Case, call, same, shows, written
from lossbook.auditor._finding import Finding, not_supported

FINE, BLUNT = (1e-5, 1e-5), (1e-2, 2e-2)  # step of the differences, and tolerance relative to the largest slope: in float64, in float32


class _HeldConstant(TorchFunctionMode):
    """Notices whether a loss detaches something, or computes under no_grad: then its gradient leaves something out on purpose."""

    seen = False

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        inputs = [value for value in (*args, *(kwargs or {}).values()) if isinstance(value, Tensor) and value.requires_grad]
        cut = function in (Tensor.detach, Tensor.detach_, Tensor.data.__get__, Tensor.item, Tensor.numpy)  # type: ignore[attr-defined]
        self.seen |= bool(inputs) and (cut or not torch.is_grad_enabled())
        return function(*args, **(kwargs or {}))


def gradient(bench: Bench) -> Iterator[Finding]:
    """Central differences on random cases. Where one-sided differences disagree there is a kink, which has no derivative."""
    if not bench.has_graph:
        yield not_supported("gradient", "the value hangs on no graph, so that `backward` raises")
        return
    step, tolerance = BLUNT if bench.is_blunt else FINE
    worst, example, words = 0.0, "", ""
    for salt in range(3):
        case = bench.draw(salt)
        _, found = bench.slope(case)
        numeric, is_kink = _differences(bench, case, step)
        error = (found.double().flatten() - numeric).abs() / torch.maximum(numeric.abs().max(), found.abs().max()).clamp(min=1e-6)
        error[is_kink] = 0
        place = int(error.argmax())
        if float(error[place]) > worst:
            worst = float(error[place])
            words = f"element {place} has {float(found.flatten()[place]):.4g} from autograd and {float(numeric[place]):.4g} from differences"
            example = shows(case, f"{call(case)}.sum().backward()", "logits.grad", gradient=True)
    if worst <= tolerance:
        yield Finding("gradient", True, worst, f"autograd against central differences of step {step:g} on random cases")
    elif _is_held_constant(bench):
        yield Finding("gradient", False, worst, f"a part is held constant on purpose (detached), so {words}", "fact", example)
    else:
        yield Finding("gradient", False, worst, words, example=example)


def _differences(bench: Bench, case: Case, step: float) -> tuple[Tensor, Tensor]:
    """Central differences, one an element, and where the one-sided ones disagree by more than curvature explains."""
    count = case.logits.numel()
    shifts = step * torch.eye(count, dtype=case.logits.dtype).reshape(count, *case.logits.shape)
    here = bench.total(case).detach()
    below, above = (torch.stack([bench.total(Case(case.logits + side * shift, case.targets)).detach() for shift in shifts]) for side in (-1, 1))
    left, right = (here - below) / step, (above - here) / step
    central = (above - below) / (2 * step)
    return central, (right - left).abs() > (0.05 if bench.is_blunt else 1e-3) * central.abs().max().clamp(min=1e-6)


def _is_held_constant(bench: Bench) -> bool:
    """Something was detached, and no hand-written backward (whose forward runs under no_grad) took part."""
    case = bench.draw()
    with _HeldConstant() as watch:
        value = bench.value(Case(case.logits.requires_grad_(), case.targets))
    return watch.seen and not _has_custom_backward(value.grad_fn)


def _has_custom_backward(node: Any) -> bool:
    waiting, seen = [node], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            return True
        waiting += [after for after, _ in node.next_functions]
    return False


def pure(bench: Bench) -> Iterator[Finding]:
    """The same arguments give the same value, and are as they were afterwards."""
    case = bench.draw()
    before = Case(case.logits.clone(), None if case.targets is None else case.targets.clone())
    first, second = bench.outcome(case), bench.outcome(Case(before.logits.clone(), None if before.targets is None else before.targets.clone()))
    example = shows(before, f"({call(case)}, {call(case)}, logits{'' if case.targets is None else ', targets'})")
    kept = all(torch.equal(one, other) for one, other in zip(case, before, strict=True) if one is not None and other is not None)
    if not kept:
        yield Finding("pure", False, "changed", f"the loss writes into its arguments: {written(before.logits)[:60]}", example=example)
    elif not same(first, second, 0.0):
        yield Finding("pure", False, "varies", "two calls with the same arguments return different values", example=example)
    else:
        yield Finding("pure", True, None, "two calls agree to the last bit, and the arguments are as they were")


def keeps_dtype(bench: Bench) -> Iterator[Finding]:
    """What dtype comes out where float64 goes in: a float32 in between costs nine digits without a word."""
    found = bench.value(bench.draw()).dtype
    name = str(found).removeprefix("torch.")
    words = f"float64 in, {name} out" + (", of which the digits are those of float32" if bench.is_blunt and found == torch.float64 else "")
    yield Finding("keeps_dtype", found == torch.float64 and not bench.is_blunt, name, words, "fact")
