"""Exponentially weighted means of many series at once.

R. G. Brown, Statistical Forecasting for Inventory Control, 1959; the weights are those of pandas' ``ewm``.
"""

from __future__ import annotations

from typing import Any

from gpuspark.kernels.spec import CallError, Column, Out, Segments, array_function, doubles, observations

__all__ = ["ewm_mean"]


@array_function
def _ewm_mean(group, values, present, offsets, alpha, adjust, ignore_na, out, counts):
    mean = 0.0
    weight = 0.0  # of all earlier observations; that of a new one is 1, or alpha
    new = 1.0 if adjust else alpha
    count = 0
    for row in range(offsets[group], offsets[group + 1]):
        if present[row] or not ignore_na:
            weight *= 1.0 - alpha
        if present[row]:
            if count == 0:
                mean = values[row]
            elif values[row] != mean:
                mean += (values[row] - mean) * (new / (weight + new))
            weight = weight + new if adjust else 1.0
            count += 1
        out[row] = mean
        counts[row] = count


def ewm_mean(
    segments: Segments | Any,
    column: Any,
    alpha: float,
    *,
    adjust: bool = True,
    ignore_na: bool = False,
    min_periods: int = 1,
) -> Column:
    """Returns for each row the exponentially weighted mean of its group up to that row, in double precision, as pandas'
    ``groupby(...).ewm(alpha=...).mean()`` does.

    ``segments`` and ``column``: the groups and the name of a numeric column, in a body of
    :func:`~gpuspark.apply_in_segments`; or the offsets of the groups and their numbers. An observation ``k`` rows back
    has the weight ``(1 - alpha) ** k``. With ``adjust=False`` the first observation stands for all before it: simple
    exponential smoothing, ``level += alpha * (x - level)``. Nulls and NaN are not observations: such a row gets the
    mean of the rows before it. They count as rows in ``k``, unless ``ignore_na``. The result is null where there were
    fewer than ``min_periods`` observations so far, or none.

    Raises :class:`~gpuspark.errors.CallError` for a column of another type, and for an ``alpha`` that is not greater
    than 0 and at most 1.

    >>> ewm_mean([0, 3], [1.0, None, 2.0], 0.5, adjust=False).to_pylist()
    [1.0, 1.0, 1.6666666666666665]
    """
    if not 0.0 < alpha <= 1.0:
        raise CallError(f"alpha={alpha} must be greater than 0 and at most 1")
    offsets, values, present, device = observations(segments, column)
    rows = len(values)
    means, counts = _ewm_mean(
        len(offsets) - 1,
        values=values,
        present=present,
        offsets=offsets,
        alpha=float(alpha),
        adjust=adjust,
        ignore_na=ignore_na,
        out=Out("float64", rows),
        counts=Out("int64", rows),
    )
    return doubles(means, counts >= max(min_periods, 1), device)
