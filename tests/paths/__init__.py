"""One number on every path: each public function, called in every way in which it can be called, against its plain call.

The plain call has contiguous float64 tensors, int64 labels and Python's numbers, eagerly. A path changes how the same values arrive (memory order,
dtype, subclass, scalars) or how the function is run (compiled, mapped, differentiated by `torch.func`, under autocast). Value and gradient of every
part of the result have to be the same. `routes.py` has the paths, ten lines each; `rows.py` says what is special about a function, a line each.
Every function with a specification in `tests/public` goes along every path: a new one fails where it does not.
"""
