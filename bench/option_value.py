"""The workload of the scalar cases: one value from three doubles, with a logarithm, a square root and exponentials."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

RATE, VOLATILITY = 0.02, 0.2


def value(s, k, t):
    """Returns a logistic approximation of the Black-Scholes price, written as users write it for ``udf``."""
    spread = VOLATILITY * math.sqrt(t)
    d1 = (math.log((s + 1) / (k + 1)) + 0.04 * t) / spread
    upper = 1 + math.exp(-1.7 * d1)
    lower = 1 + math.exp(-1.7 * (d1 - spread))
    return s / upper - k * math.exp(-RATE * t) / lower


def value_numpy(s: Any, k: Any, t: Any) -> Any:
    """Returns the same price for arrays or Series, written as users write it for ``pandas_udf``."""
    import numpy as np

    spread = VOLATILITY * np.sqrt(t)
    d1 = (np.log((s + 1) / (k + 1)) + 0.04 * t) / spread
    upper = 1 + np.exp(-1.7 * d1)
    lower = 1 + np.exp(-1.7 * (d1 - spread))
    return s / upper - k * np.exp(-RATE * t) / lower


def value_arrow(s: pa.Array, k: pa.Array, t: pa.Array) -> pa.Array:
    """Returns the same price for Arrow arrays without nulls, whose buffers NumPy reads without a copy."""
    import pyarrow as pa

    return pa.array(value_numpy(*(column.to_numpy() for column in (s, k, t))))
