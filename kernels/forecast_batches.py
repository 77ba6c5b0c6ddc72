"""The batches that :func:`~gpuspark.kernels.holt_winters` returns, made from the results of its array function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpuspark.kernels.spec import Batch, doubles, list_array

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Fit:
    """The results of the array function."""

    parameters: NDArray[np.float64]
    """A row for each series: alpha, beta, gamma, phi."""
    initial: NDArray[np.float64]
    """A row for each series: level, slope and seasonals before the first row."""
    sse: NDArray[np.float64]
    """The sum of squared errors of each series; NaN where it could not be fitted."""
    counts: NDArray[np.int64]
    """The number of observations of each series."""
    forecasts: NDArray[np.float64]
    """All steps of the first series, then those of the second, and so on."""
    factors: NDArray[np.float64]
    """The variances of the forecasts' errors, as multiples of the first step's."""

    @property
    def fitted(self) -> NDArray[np.bool_]:
        """Whether each series could be fitted."""
        return np.isfinite(self.sse)


def forecasts_batch(keys: Batch, fit: Fit, half: NDArray[np.float64], horizon: int, device: Any) -> Batch:
    """Returns the forecasts, a row for each series and step. ``half``: half the widths of the intervals."""
    number = len(fit.sse)
    repeated = keys.to_arrow().take(np.repeat(np.arange(number), horizon))
    batch = type(keys).from_arrow(repeated, device).with_column("step", np.tile(np.arange(1, horizon + 1), number))
    valid = np.repeat(fit.fitted, horizon)
    columns = {"forecast": fit.forecasts, "lower": fit.forecasts - half, "upper": fit.forecasts + half}
    for name, numbers in columns.items():
        batch = batch.with_column(name, doubles(numbers, valid, device))
    return batch


def parameters_batch(keys: Batch, fit: Fit, sigma: NDArray[np.float64], device: Any) -> Batch:
    """Returns the parameters and first states, a row for each series."""
    columns = dict(zip(("alpha", "beta", "gamma", "phi"), fit.parameters.T, strict=True))
    columns |= {"sse": fit.sse, "sigma": sigma, "level": fit.initial[:, 0], "slope": fit.initial[:, 1]}
    batch = keys.with_column("observations", fit.counts)
    for name, numbers in columns.items():
        batch = batch.with_column(name, doubles(np.ascontiguousarray(numbers), fit.fitted, device))
    number, season = len(fit.sse), fit.initial.shape[1] - 2
    nulls = None if fit.fitted.all() else ~fit.fitted
    seasonals = list_array(np.arange(number + 1) * season, fit.initial[:, 2:].reshape(-1), nulls)
    return batch.with_column("seasonals", seasonals)
