"""The cases: one file for each subject, each with a list ``CASES``. A case declares what is computed and in which
forms; :mod:`gpuspark.bench.run` verifies the forms against the oracle's, and only then takes their time."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gpuspark as gs

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

BATCHES = "gpuspark in map_in_arrow"
"""The path where our function is called in a body of ``gs.map_in_arrow``; ``gpuspark`` is the column function."""
EXPRESSION = "gpuspark as a Spark expression"
"""The path whose columns are built for the device ``sql``, which no worker runs."""
FLOOR = "transport"
"""The path that only moves the case's columns through Python: an identity ``mapInArrow``."""


@dataclass(frozen=True)
class Aim:
    """``path`` shall be ``times`` as fast as ``than``; a number below 1 allows it to be slower."""

    path: str
    than: str
    times: float
    missed: str = ""
    """Why, as far as is known, where it is not reached."""


LIKE_SQL = Aim(EXPRESSION, "Spark SQL", 1 / 1.1)
"""The aim of an expression: the time of the same formula, written by hand."""


@dataclass(frozen=True)
class Case:
    """One operation over one set of data, in every form that a user would write it in."""

    name: str
    data: Callable[[int], pa.Table]
    """The input of so many elements; the same for the same number."""
    elements: int
    """How many the core suite takes."""
    unit: str
    """What one element is: a row, a pair of texts, a group, a series."""
    paths: Mapping[str, Callable[[DataFrame], DataFrame]]
    """The forms by name, each from the input's frame to the result's. ``gpuspark`` is ours; :data:`FLOOR` is there
    for every case, unless given here."""
    oracle: str
    """The path whose results are right."""
    close: float = 1e-9
    """Relative difference that floats may have from the oracle's."""
    sorted_by: tuple[str, ...] = ()
    """Columns of the result by which its rows are put in order before they are compared; all, if none are named."""
    bytes_in: int = 0
    bytes_out: int = 0
    operations: int = 0
    """Of one element: bytes read and written, and arithmetic operations."""
    aims: tuple[Aim, ...] = ()
    capped: Mapping[str, int] = field(default_factory=dict)
    """Paths too slow for all elements, and the number that they are given; their seconds are multiplied, and shown
    as such."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Spark's settings while the case runs, such as batch sizes; the same for every path."""
    files: int = 8
    """How many parquet files the input lies in."""
    along: tuple[str, float] | None = None
    """The sweep that the case is a point of, and where on it: the cases of one sweep have the same paths."""
    suite: str = "core"
    """The smallest suite that it belongs to."""
    note: str = ""


def as_expression(path: Callable[[DataFrame], DataFrame]) -> Callable[[DataFrame], DataFrame]:
    """Returns ``path`` with its columns built for the device ``sql``."""

    def built(frame: DataFrame) -> DataFrame:
        key, conf = "spark.gpuspark.device", frame.sparkSession.conf
        before = str(conf.get(key, "auto"))
        conf.set(key, "sql")
        try:
            return path(frame)
        finally:
            conf.set(key, before)

    return built


def in_batches(frame: DataFrame, name: str, of: str, compute: Callable[..., Any]) -> DataFrame:
    """``compute`` of the frame's columns, in a body of ``gs.map_in_arrow``: one column ``name`` of the type ``of``."""
    given = frame.columns

    def body(batches: Iterator[gs.Batch]) -> Iterator[gs.Batch]:
        for batch in batches:
            yield batch.with_column(name, compute(*(batch[column] for column in given))).select([name])

    return gs.map_in_arrow(frame, body, f"{name} {of}")


def every_case() -> dict[str, Case]:
    """All cases by name, in the order of their files."""
    result: dict[str, Case] = {}
    for module in modules():
        for case in importlib.import_module(module).CASES:
            if case.name in result:
                raise ValueError(f"two cases are called {case.name}")
            result[case.name] = case
    return result


def modules() -> list[str]:
    """The names of the modules that hold cases."""
    return [f"{__name__}.{file.name}" for file in pkgutil.iter_modules(__path__)]
