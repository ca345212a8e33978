"""How many pixels each segment of one map shares with each segment of another, found where the maps change and not pixel by pixel.

The plain formula: `np.unique` of the pairs of ids of all pixels, with counts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray[Any, np.dtype[Any]]
_PIECE = 2**16  # rows that are compared, or numbered, together: their temporaries stay in the cache
_TABLE = 2**24  # the longest table that is preferred to sorting
_LARGEST = 2**62  # the largest number that a row may become


class Overlap(NamedTuple):
    """The (class, instance) of the segments of either map, [S, 2] and [T, 2], and the pairs (first, second) that share `pixels` > 0 pixels."""

    first_segments: Array
    second_segments: Array
    first: Array
    second: Array
    pixels: Array


def overlap(first: Tensor, second: Tensor) -> Overlap:
    """Of two maps [..., 2] of any classes and instances that are integers of up to 64 bits, with a sign."""
    first_rows, second_rows, lengths = _runs(first, second)
    first_code, second_code = _Code(first_rows), _Code(second_rows)
    width = max(len(second_code.segments), 1)
    size = len(first_code.segments) * width
    if size > _TABLE:
        pairs, inverse = np.unique(first_code(first_rows) * width + second_code(second_rows), return_inverse=True)
        pixels = np.bincount(inverse, lengths)
    else:
        table: Array = np.zeros(size)
        for piece in _pieces(len(first_rows), max(_PIECE, size)):
            pair = first_code(first_rows[piece]) * width + second_code(second_rows[piece])
            table += np.bincount(pair, None if lengths is None else lengths[piece], size)
        pairs = np.flatnonzero(table)
        pixels = table[pairs]
    return Overlap(first_code.segments, second_code.segments, pairs // width, pairs % width, pixels)


class _Code:
    """Rows (class, instance) [R, 2] as numbers of the distinct rows: by a table where the ids are small, else by sorting."""

    def __init__(self, rows: Array) -> None:
        low, high = _extremes(rows)
        self.low, self.width = low, high[1] - low[1] + 1
        size = (high[0] - low[0] + 1) * self.width
        self.names: list[Array] | None = None
        self.table: Array | None = None
        if size > _LARGEST:  # places among the distinct ids in place of the ids
            self.names = [np.unique(rows[:, column]) for column in range(2)]
            self.width = max(len(self.names[1]), 1)
        if size > _TABLE:
            self.distinct = np.unique(self._raw(rows))
        else:
            seen = np.zeros(size, dtype=bool)
            for piece in _pieces(len(rows), _PIECE):
                seen[self._raw(rows[piece])] = True
            self.distinct, self.table = np.flatnonzero(seen), np.empty(size, dtype=np.int64)
            self.table[self.distinct] = np.arange(len(self.distinct))
        self.segments = self._read(self.distinct // self.width, self.distinct % self.width)

    def _raw(self, rows: Array) -> Array:
        if self.names is not None:
            first, second = (np.searchsorted(ids, rows[:, column]) for column, ids in enumerate(self.names))
            raw: Array = first * self.width + second
            return raw
        raw = np.subtract(rows[:, 0], self.low[0], dtype=np.int64)
        raw *= self.width
        raw += rows[:, 1]
        raw -= self.low[1]
        return raw

    def _read(self, first: Array, second: Array) -> Array:
        """The rows back from their two parts."""
        if self.names is not None:
            return np.stack([self.names[0][first], self.names[1][second]], -1)
        return np.stack([first + self.low[0], second + self.low[1]], -1)

    def __call__(self, rows: Array) -> Array:
        raw = self._raw(rows)
        number: Array = np.searchsorted(self.distinct, raw) if self.table is None else self.table.take(raw)
        return number


def _extremes(rows: Array) -> tuple[list[int], list[int]]:
    """Bounds of class and instance: one interval for both where that is short, because a flat array is searched many times as fast as a column."""
    flat = rows.reshape(-1)
    pieces = [flat[piece] for piece in _pieces(flat.size, 2 * _PIECE)]
    low, high = min((int(piece.min()) for piece in pieces), default=0), max((int(piece.max()) for piece in pieces), default=0)
    if (high - low + 1) ** 2 <= 2**20:
        return [low, low], [high, high]
    return rows.min(0).tolist(), rows.max(0).tolist()


def _pieces(count: int, size: int) -> list[slice]:
    return [slice(low, min(low + size, count)) for low in range(0, count, size)]


def _runs(first: Tensor, second: Tensor) -> tuple[Array, Array, Array | None]:
    """The rows [R, 2] of both maps where a run starts, and the runs' lengths; all rows and None where runs would not be far fewer."""
    if first.device.type == "cpu":
        return _runs_in_cache(*(values.contiguous().numpy().reshape(-1, 2) for values in (first, second)))
    return _runs_at_once(first, second)


def _runs_at_once(first: Tensor, second: Tensor) -> tuple[Array, Array, Array]:
    """All pixels compared on their device; only what starts a run comes to the host."""
    pairs = [values.reshape(-1, 2) for values in (first, second)]
    changed = torch.ones(len(pairs[0]), dtype=torch.bool, device=first.device)
    changed[1:] = (pairs[0][1:] != pairs[0][:-1]).any(-1) | (pairs[1][1:] != pairs[1][:-1]).any(-1)
    found = changed.nonzero()[:, 0]
    starts = found.cpu().numpy()
    return pairs[0][found].cpu().numpy(), pairs[1][found].cpu().numpy(), np.diff(starts, append=len(pairs[0]))


def _runs_in_cache(first: Array, second: Array) -> tuple[Array, Array, Array | None]:
    """Piece by piece; it gives up as soon as runs are more than a quarter of the pixels."""
    starts, found = [np.arange(min(len(first), 1))], 1
    for piece in _pieces(len(first) - 1, _PIECE):
        changed = (first[1:][piece] != first[:-1][piece]) | (second[1:][piece] != second[:-1][piece])
        starts.append(piece.start + 1 + np.flatnonzero(changed[:, 0] | changed[:, 1]))
        found += len(starts[-1])
        if 4 * found > piece.stop:
            return first, second, None
    pixels = np.concatenate(starts)
    return first.take(pixels, axis=0), second.take(pixels, axis=0), np.diff(pixels, append=len(first))  # take copies rows, an index numbers
