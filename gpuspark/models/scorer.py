"""A fitted model as workers run it: arrays and small rules, without the library that fitted it.

A model is a chain of steps, each from one matrix to the next, and the rules that turn the last matrix into
predictions. :mod:`gpuspark.models.estimators` builds it on the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from gpuspark.columns.layout import nulls_of, numbers
from gpuspark.errors import CallError

if TYPE_CHECKING:
    import pyarrow as pa

Output = Literal["prediction", "probabilities", "transformed"]
Accepts = Literal["finite", "missing", "anything"]
Decision = Literal["largest margin", "likeliest", "positive margin", "margin from zero on"]
_ROWS = 4096
"""The rows of a matrix that are filled and checked at a time, while they are in the caches."""


@dataclass(frozen=True)
class Step:
    """One estimator of the chain."""

    name: str
    """The estimator's class name."""
    compute: Callable[[NDArray[np.float64]], NDArray[Any]]
    accepts: Accepts = "finite"
    """``missing`` accepts NaN as well as finite numbers, ``anything`` also infinities."""
    limit: float = float(np.finfo(np.float64).max)
    """The largest magnitude that the estimator treats as finite."""


def _sigmoid(x: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        probabilities: NDArray[Any] = 1 / (1 + np.exp(-x))
    return probabilities


def _softmax(x: NDArray[Any]) -> NDArray[Any]:
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    probabilities: NDArray[Any] = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


LINKS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "identity": lambda x: x,
    "sigmoid": _sigmoid,
    "softmax": _softmax,
    "exponential": np.exp,
    "logarithm_one_plus_exp": lambda x: np.log1p(np.exp(x)),
    "signed_square": lambda x: np.sign(x) * x * x,
}
"""The functions that turn the margins of the last step into predictions or probabilities, by name."""


@dataclass(frozen=True)
class Scorer:
    """A model: its steps, and the rules for its outputs."""

    features: int
    steps: tuple[Step, ...]
    link: str = "identity"
    scale: float = 1.0
    """The factor of the margins before the link."""
    labels: NDArray[Any] | None = None
    """The classes of a classifier."""
    decision: Decision = "largest margin"
    predicts: bool = True
    """False for a chain that ends in a transformer."""
    single: bool = False
    """Whether predictions are in single precision."""

    @property
    def outputs(self) -> list[Output]:
        """The outputs that this model has."""
        if not self.predicts:
            return ["transformed"]
        return ["prediction"] if self.labels is None else ["prediction", "probabilities"]

    def result(self, output: Output) -> str:
        """Returns Spark's name of the type of ``output``."""
        if output != "prediction":
            return "array<double>"
        if self.labels is None:
            return "float" if self.single else "double"
        return {"i": "bigint", "u": "bigint", "f": "double", "b": "boolean"}.get(self.labels.dtype.kind, "string")

    def compute(self, columns: Sequence[pa.Array], names: Sequence[str], output: Output) -> pa.Array:
        """Returns ``output`` for each row. Raises :class:`~gpuspark.errors.CallError` for features it rejects."""
        x, names = matrix_of(columns, names), list(names)
        for step in self.steps:
            _check(step, x, names)
            x = step.compute(x)
            names = [f"{step.name}[{k}]" for k in range(x.shape[1])]
        if output == "transformed":
            return _lists(x)
        if output == "probabilities":
            return _lists(self._probabilities(x))
        return self._predictions(x)

    def _probabilities(self, margins: NDArray[Any]) -> NDArray[Any]:
        linked = LINKS[self.link](margins * margins.dtype.type(self.scale))
        return np.concatenate([1 - linked, linked], axis=1) if linked.shape[1] == 1 else linked

    def _predictions(self, margins: NDArray[Any]) -> pa.Array:
        import pyarrow as pa

        if self.labels is None:
            return pa.array(LINKS[self.link](margins * margins.dtype.type(self.scale))[:, 0])
        match self.decision:
            case "largest margin":
                chosen = np.argmax(margins, axis=1)
            case "likeliest":
                chosen = np.argmax(self._probabilities(margins), axis=1)
            case "positive margin":
                chosen = (margins[:, 0] > 0).astype(int)
            case "margin from zero on":
                chosen = (margins[:, 0] >= 0).astype(int)
        arrow_types = {"i": pa.int64(), "u": pa.int64(), "f": pa.float64()}
        labels = pa.array(self.labels.tolist(), arrow_types.get(self.labels.dtype.kind))
        return labels.take(pa.array(chosen))


def matrix_of(columns: Sequence[pa.Array], names: Sequence[str]) -> NDArray[np.float64]:
    """Returns the columns as the columns of a matrix; nulls become NaN, booleans 0 and 1."""
    import pyarrow as pa

    stored = [
        numbers(column.cast(pa.uint8()) if pa.types.is_boolean(column.type) else column, f"the feature {name}")
        for column, name in zip(columns, names, strict=True)
    ]
    x = np.empty((len(columns[0]), len(columns)))
    for begin in range(0, len(x), _ROWS):
        rows = slice(begin, begin + _ROWS)
        for k, values in enumerate(stored):
            x[rows, k] = values[rows]
    for k, column in enumerate(columns):
        nulls = nulls_of(column)
        if nulls is not None:
            x[nulls, k] = np.nan
    return x


def _check(step: Step, x: NDArray[np.float64], names: Sequence[str]) -> None:
    """Raises for the first value that ``step`` does not accept."""
    if step.accepts == "anything":
        return
    for begin in range(0, len(x), _ROWS):
        values = x[begin : begin + _ROWS]
        bad = ~(np.abs(values) <= step.limit)
        if step.accepts == "missing":
            bad &= ~np.isnan(values)
        if bad.any():
            row, column = (int(positions[0]) for positions in np.nonzero(bad))
            raise _rejected(step, begin + row, values[row, column], names[column])


def _rejected(step: Step, row: int, value: float, name: str) -> CallError:
    """Returns the error for a value that ``step`` does not accept."""
    if np.isnan(value):
        return CallError(
            f"{step.name} takes no missing values, and row {row} of the batch has null or NaN in {name}. "
            "Drop such rows with df.dropna(subset=[...]), or fill them with df.fillna(...), as when the model was "
            "fitted."
        )
    return CallError(
        f"{step.name} takes no infinite or too large numbers, and row {row} of the batch has {value} in "
        f"{name}. Filter such rows out."
    )


def _lists(rows: NDArray[Any]) -> pa.Array:
    import pyarrow as pa

    offsets = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows.astype(np.float64).reshape(-1)))
