"""``python -m tests.proof.cudf_meaning``, on a GPU node with RAPIDS: series bodies on cuDF, compared with pandas.

Each line of ``tests/data/series_bodies.txt`` is an expression of columns. It must give pandas' values and types, or be
left to pandas (:mod:`gpuspark.columns.cudf_meaning`); errors on cuDF are left to pandas too. Doubles may differ
by a part in 10^12, floats by one in 10^6: sums are added in another order. Prints a line for each expression that is
left to pandas, and for each that differs. ``--unchecked`` shows what cuDF gives by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import math
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from gpuspark.columns import cudf_form
from gpuspark.columns.cudf_meaning import pandas_meaning

BODIES = (Path(__file__).parents[1] / "data" / "series_bodies.txt").read_text().splitlines()
ROWS = 40
TEXTS = ["abc", "Straße", "İstanbul", "ǅx", "", " a b ", "12", "-3.5", "e\u0301", "ΑΣ"]
LARGE = [2**62, -(2**62), 2**53 + 1, -1]


def columns() -> dict[str, pa.Array]:
    """Returns the columns of the expressions, by name: every type, with the values on which libraries differ."""
    random, numbers = np.random.default_rng(3), range(ROWS)
    x = [None if k % 7 == 0 else float(v) for k, v in enumerate(random.normal(size=ROWS) * 5)]
    x[1:6] = [0.0, -0.0, math.inf, -math.inf, math.nan]
    times = [datetime.datetime(1960 + 2 * k, 1 + k % 12, 1 + k % 28, k % 24, k, 59 - k, 1001 * k) for k in numbers]
    whole = random.integers(-9, 9, ROWS)
    whole[:2] = 0, 1
    return {
        "x": pa.array(x),
        "y": pa.array(np.where(np.arange(ROWS) % 9 == 0, 0.0, random.normal(size=ROWS) * 3)),
        "z": pa.array(random.normal(size=ROWS) * 3),
        "f": pa.array((random.normal(size=ROWS) * 3).astype("f4")),
        "n": pa.array(whole),
        "k": pa.array(random.integers(1, 9, ROWS)),
        "m": pa.array([None if k % 5 == 0 else k - 20 for k in numbers]),
        "i": pa.array(random.integers(-9, 9, ROWS), pa.int32()),
        "big": pa.array([LARGE[k % 4] for k in numbers]),
        "sm": pa.array(random.integers(-100, 100, ROWS), pa.int8()),
        "s": pa.array([TEXTS[k % len(TEXTS)] for k in numbers]),
        "u": pa.array([("a,b", "a,b,c", "", ",", "x")[k % 5] for k in numbers]),
        "b": pa.array([k % 3 == 0 for k in numbers]),
        "c": pa.array([k % 2 == 0 for k in numbers]),
        "t": pa.array(times, pa.timestamp("us", "UTC")),
        "w": pa.array([datetime.datetime(2020, 2, 20 + k % 9, 5) for k in numbers], pa.timestamp("us", "UTC")),
    }


def on_pandas(column: pa.Array) -> pd.Series:
    """Returns a column as PySpark gives it to a pandas UDF."""
    series = column.to_pandas()
    return series.dt.tz_localize(None).astype("datetime64[ns]") if pa.types.is_timestamp(column.type) else series


def on_cudf(column: pa.Array) -> Any:
    obstacle = cudf_form.obstacle(column, "pandas")
    assert obstacle is None, obstacle
    return cudf_form.to_device(column, "pandas", "UTC")


def comparable(result: Any) -> tuple[str, list[Any]]:
    """Returns the type of a result and its values."""
    if isinstance(result, pd.DataFrame):
        return "DataFrame", [value for name in result for value in comparable(result[name])[1]]
    if isinstance(result, pd.Series | pd.Index | np.ndarray):
        numeric = getattr(result.dtype, "kind", "O") in "iufb"
        return str(result.dtype) if numeric else "", [plain(value) for value in result.tolist()]
    return "", [plain(result)]


def plain(value: Any) -> Any:
    """Returns a value in a form that can be compared; every missing value is NaN, which Spark makes null."""
    if isinstance(value, float | np.floating):
        return float(value)
    missing = value is None or value is pd.NaT or value is pd.NA
    return math.nan if missing else repr(value.item() if isinstance(value, np.generic) else value)


def equal(a: Any, b: Any, tolerance: float) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        if math.isnan(a) or math.isnan(b):
            return math.isnan(a) and math.isnan(b)
        return a == b or abs(a - b) <= tolerance * max(abs(a), abs(b))
    return bool(a == b)


def same(a: tuple[str, list[Any]], b: tuple[str, list[Any]]) -> bool:
    return a[0] == b[0] and len(a[1]) == len(b[1]) and not differing(a, b)


def differing(a: tuple[str, list[Any]], b: tuple[str, list[Any]]) -> list[tuple[Any, Any]]:
    tolerance = 1e-6 if a[0] == "float32" else 1e-12
    return [pair for pair in zip(a[1], b[1], strict=False) if not equal(*pair, tolerance)]


def outcome(body: Any, arguments: dict[str, Any]) -> tuple[str, list[Any]] | Exception:
    try:
        return comparable(cudf_form.to_host(body(**arguments)))
    except Exception as error:  # noqa: BLE001  # an error is an answer too
        return error


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proof.cudf_meaning", description=__doc__.splitlines()[0])
    parser.add_argument("--unchecked", action="store_true", help="what cuDF gives without gpuspark's checks")
    parser.add_argument("--pandas", action="store_true", help="pandas in cuDF's place: tries the script")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    checks = contextlib.nullcontext if options.unchecked or options.pandas else pandas_meaning
    data, counts = columns(), dict.fromkeys(("equal", "left to pandas", "an error on both", "different"), 0)
    for text in BODIES:
        used = [name for name in data if re.search(rf"\b{name}\b", text)]
        body = eval(f"lambda {', '.join(used)}: {text}", {"np": np, "pd": pd, "math": math})
        expected = outcome(body, {name: on_pandas(data[name]) for name in used})
        given = {name: (on_pandas if options.pandas else on_cudf)(data[name]) for name in used}
        with checks():
            result = outcome(body, given)
        if isinstance(result, Exception):
            verdict = "an error on both" if isinstance(expected, Exception) else "left to pandas"
            shown = f"{type(result).__name__}: {' '.join(str(result).split())}"[:160]
        elif isinstance(expected, Exception):
            verdict, shown = "different", f"pandas raises {type(expected).__name__}: {expected}"[:160]
        elif same(expected, result):
            verdict, shown = "equal", ""
        else:
            rows = differing(expected, result)
            verdict, shown = "different", f"{expected[0]} {result[0]} pandas, cuDF: {rows[:3]}"[:220]
        counts[verdict] += 1
        if shown:
            print(f"{verdict}: {text}    {shown}")
    print(f"{len(BODIES)} bodies: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return int(counts["different"] > 0)


if __name__ == "__main__":
    raise SystemExit(main())
