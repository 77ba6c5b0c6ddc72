"""The steps of linear models over rows of features: scaling, and products with a matrix.

On a CPU NumPy computes them: its linear algebra library is faster than any loop of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.kernels.spec import Constant, Out, array_function, planned_device


@array_function
def _standardised(row, x, width, shift, scale, out):
    for k in range(width):
        out[row * width + k] = (x[row * width + k] - shift[k]) / scale[k]


@array_function
def _stretched(row, x, width, factor, shift, low, high, out):
    for k in range(width):
        value = x[row * width + k] * factor[k] + shift[k]
        if value < low:
            value = low
        if value > high:
            value = high
        out[row * width + k] = value  # NaN stays NaN


@array_function
def _product(row, x, width, matrix, shift, count, out):
    for k in range(count):
        total = 0.0
        for j in range(width):
            total += x[row * width + j] * matrix[j * count + k]
        out[row * count + k] = total + shift[k]


@dataclass(frozen=True)
class Standardise:
    """The step ``(x - shift) / scale`` for each feature."""

    shift: Constant
    scale: Constant

    def apply(self, x: NDArray[np.float64]) -> NDArray[Any]:
        """Returns a row of results for each row of ``x``."""
        result: NDArray[Any]
        if planned_device() == "cpu":
            result = (x - self.shift.array) / self.scale.array
            return result
        result = _standardised(len(x), x=x, width=x.shape[1], shift=self.shift, scale=self.scale, out=Out("f8", x.size))
        return result.reshape(x.shape)


@dataclass(frozen=True)
class Stretch:
    """The step ``x * factor + shift`` for each feature, clipped to ``low`` and ``high``."""

    factor: Constant
    shift: Constant
    low: float = -np.inf
    high: float = np.inf

    def apply(self, x: NDArray[np.float64]) -> NDArray[Any]:
        """Returns a row of results for each row of ``x``."""
        result: NDArray[Any]
        if planned_device() == "cpu":
            result = np.clip(x * self.factor.array + self.shift.array, self.low, self.high)
            return result
        result = _stretched(
            len(x),
            x=x,
            width=x.shape[1],
            factor=self.factor,
            shift=self.shift,
            low=float(self.low),
            high=float(self.high),
            out=Out("f8", x.size),
        )
        return result.reshape(x.shape)


@dataclass(frozen=True)
class Product:
    """The step ``x @ matrix + shift``. The matrix has a row for each feature, and a column for each result.

    >>> Product(Constant([[2.0], [1.0]]), Constant([0.5])).apply(np.array([[1.0, 2.0]])).tolist()
    [[4.5]]
    """

    matrix: Constant
    shift: Constant

    def apply(self, x: NDArray[np.float64]) -> NDArray[Any]:
        """Returns a row of results for each row of ``x``."""
        count = self.matrix.array.shape[1]
        result: NDArray[Any]
        if planned_device() == "cpu":
            result = x @ self.matrix.array + self.shift.array
            return result
        result = _product(
            len(x),
            x=x,
            width=x.shape[1],
            matrix=self.matrix,
            shift=self.shift,
            count=count,
            out=Out("f8", len(x) * count),
        )
        return result.reshape(len(x), count)
