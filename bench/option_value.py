"""The workload of the vertical slice: a value per row out of three doubles, with logarithm, root and exponentials."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

COLUMNS = ("s", "k", "t")
RATE, VOLATILITY = 0.02, 0.2


def value(s, k, t):
    """A logistic approximation of the Black-Scholes price; the body that users would write."""
    spread = VOLATILITY * math.sqrt(t)
    d1 = (math.log((s + 1) / (k + 1)) + 0.04 * t) / spread
    upper = 1 + math.exp(-1.7 * d1)
    lower = 1 + math.exp(-1.7 * (d1 - spread))
    return s / upper - k * math.exp(-RATE * t) / lower


def value_numpy(s: Any, k: Any, t: Any) -> Any:
    """The same over arrays or Series, as users write it for ``pandas_udf``."""
    import numpy as np

    spread = VOLATILITY * np.sqrt(t)
    d1 = (np.log((s + 1) / (k + 1)) + 0.04 * t) / spread
    upper = 1 + np.exp(-1.7 * d1)
    lower = 1 + np.exp(-1.7 * (d1 - spread))
    return s / upper - k * np.exp(-RATE * t) / lower


def write_parquet(folder: Path, rows: int, files: int = 8) -> Path:
    """``rows`` rows of three doubles in ``files`` parquet files; kept for the next run."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    target = folder / f"option_value_{rows}"
    if (target / "_SUCCESS").exists():
        return target
    target.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(7)
    for part in range(files):
        count = rows // files + (part < rows % files)
        s, k = (pa.array(random.uniform(10, 200, count)) for _ in range(2))
        columns = [s, k, pa.array(random.uniform(0.1, 3, count))]
        table = pa.table(columns, names=list(COLUMNS))
        pq.write_table(table, target / f"part-{part:02}.parquet", row_group_size=1 << 19)
    (target / "_SUCCESS").touch()
    return target
