"""Statistics of the last rows of a series, for each row of many series at once.

No window is summed from its start, and nothing is subtracted from a sum, which would leave rounding errors behind. A
series is cut into blocks as long as the window, so that a window is the tail of one block and the head of the next.
Tails are summed backwards, heads forwards, and one of each makes a window: three steps for each row and any window.
(M. van Herk, A fast algorithm for local minimum and maximum filters on rectangular and octagonal kernels,
Pattern Recognition Letters 13, 1992; J. Gil, M. Werman, Computing 2-D min, median, and max filters, IEEE PAMI 15,
1993. Deviations are joined as in T. F. Chan, G. H. Golub, R. J. LeVeque, The American Statistician 37, 1983.)
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from gpuspark.kernels.spec import CallError, Column, Out, Segments, array_function, doubles, observations

__all__ = ["rolling"]

Statistic = Literal["sum", "mean", "std", "min", "max"]
_STATISTICS = ("sum", "mean", "std", "min", "max")


@array_function
def _sums(block, values, present, begins, ends, follows, window, mean, out, counts):
    """Writes the sums, or means, of the windows that end in one block."""
    begin = begins[block]
    end = ends[block]
    total = 0.0
    count = 0
    for back in range(window):
        row = begin + window - 1 - back
        if follows[block] and back > 0 and present[row + 1 - window]:
            total += values[row + 1 - window]
            count += 1
        if row < end:
            out[row] = total
            counts[row] = count
    total = 0.0
    count = 0
    for row in range(begin, end):
        if present[row]:
            total += values[row]
            count += 1
        counts[row] += count
        whole = out[row] + total
        out[row] = whole / max(counts[row], 1) if mean else whole


@array_function
def _largest(block, values, present, begins, ends, follows, window, sign, out, counts):
    """Writes the largest numbers of the windows that end in one block; with ``sign`` -1 the smallest."""
    begin = begins[block]
    end = ends[block]
    most = -math.inf
    count = 0
    for back in range(window):
        row = begin + window - 1 - back
        if follows[block] and back > 0 and present[row + 1 - window]:
            most = max(most, sign * values[row + 1 - window])
            count += 1
        if row < end:
            out[row] = most
            counts[row] = count
    most = -math.inf
    count = 0
    for row in range(begin, end):
        if present[row]:
            most = max(most, sign * values[row])
            count += 1
        counts[row] += count
        out[row] = sign * max(out[row], most)


@array_function
def _deviations(block, values, present, begins, ends, follows, window, ddof, out, counts, squares):
    """Writes the standard deviations of the windows that end in one block."""
    begin = begins[block]
    end = ends[block]
    mean = 0.0
    square = 0.0
    count = 0
    for back in range(window):
        row = begin + window - 1 - back
        if follows[block] and back > 0 and present[row + 1 - window]:
            count += 1
            delta = values[row + 1 - window] - mean
            mean += delta / count
            square += delta * (values[row + 1 - window] - mean)
        if row < end:
            out[row] = mean
            squares[row] = square
            counts[row] = count
    mean = 0.0
    square = 0.0
    count = 0
    for row in range(begin, end):
        if present[row]:
            count += 1
            delta = values[row] - mean
            mean += delta / count
            square += delta * (values[row] - mean)
        tail = counts[row]
        both = max(tail + count, 1)
        apart = mean - out[row]
        of_both = squares[row] + square
        if tail > 0 and count > 0:
            of_both += apart * apart * (tail * (count / both))
        counts[row] = tail + count
        out[row] = math.sqrt(of_both / max(tail + count - ddof, 1))


def rolling(
    segments: Segments | Any,
    column: Any,
    window: int,
    statistic: Statistic = "mean",
    *,
    min_periods: int | None = None,
    ddof: int = 1,
) -> Column:
    """Returns for each row a statistic of the last ``window`` rows of its group, including that row, in double
    precision, as pandas' ``groupby(...).rolling(window, min_periods)`` does.

    ``segments`` and ``column``: the groups and the name of a numeric column, in a body of
    :func:`~gpuspark.apply_in_segments`; or the offsets of the groups and their numbers. ``statistic``: ``sum``,
    ``mean``, ``std``, ``min`` or ``max``. Nulls and NaN are not observations. The result is null where a window has
    fewer observations than ``min_periods`` (by default ``window``), none for ``mean``, ``min`` and ``max``, or at most
    ``ddof`` for ``std``. Infinities count as numbers, unlike in pandas.

    Raises :class:`~gpuspark.errors.CallError` for a column of another type and for options out of range.

    >>> rolling([0, 3, 5], [1.0, 2.0, 4.0, 10.0, None], 2, "sum").to_pylist()
    [None, 3.0, 6.0, None, None]
    >>> rolling([0, 3, 5], [1.0, 2.0, 4.0, 10.0, None], 2, "max", min_periods=1).to_pylist()
    [1.0, 2.0, 4.0, 10.0, 10.0]
    """
    least = window if min_periods is None else min_periods
    if window < 1 or not 0 <= least <= window:
        raise CallError(f"window={window}, min_periods={min_periods}: give 0 <= min_periods <= window, and 1 <= window")
    if statistic not in _STATISTICS or ddof < 0:
        raise CallError(f"statistic={statistic!r}, ddof={ddof}: choose one of {', '.join(_STATISTICS)}, and 0 <= ddof")
    offsets, values, present, device = observations(segments, column)
    rows = len(values)
    window = max(min(window, int(np.diff(offsets).max(initial=0))), 1)
    blocks = _blocks(offsets, window)
    arguments = {
        "values": values,
        "present": present,
        "begins": blocks[0],
        "ends": blocks[1],
        "follows": blocks[2],
        "window": window,
        "out": Out("float64", rows),
        "counts": Out("int64", rows),
    }
    number = len(blocks[0])
    if statistic == "std":
        result, counts, _ = _deviations(number, **arguments, ddof=ddof, squares=Out("float64", rows))
        least = max(least, ddof + 1)
    elif statistic in ("min", "max"):
        result, counts = _largest(number, **arguments, sign=1.0 if statistic == "max" else -1.0)
        least = max(least, 1)
    else:
        result, counts = _sums(number, **arguments, mean=statistic == "mean")
        least = max(least, int(statistic == "mean"))
    return doubles(result, counts >= least, device)


def _blocks(offsets: Any, window: int) -> tuple[Any, Any, Any]:
    """Returns where each block of ``window`` rows begins and ends, and whether it follows one of the same series."""
    lengths = np.diff(offsets)
    number = -(-lengths // window)
    series = np.repeat(np.arange(len(lengths)), number)
    position = np.arange(len(series)) - np.repeat(np.cumsum(number) - number, number)
    begins = offsets[series] + position * window
    return begins, np.minimum(begins + window, offsets[series + 1]), position > 0
