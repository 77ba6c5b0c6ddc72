"""Builds every PySpark UDF of gpuspark.

Code that builds a Spark column or frame calls :func:`prepare` first: it validates the ``spark.gpuspark.*`` keys and,
unless they forbid it, asks Spark to collect the ledger. :class:`UdfCache` keeps the UDFs that were built.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuspark.config import Config
from gpuspark.spark.session import active_session, application, driver_config, enable_ledger

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class Prepared:
    """A session and its configuration, for building columns and frames."""

    spark: SparkSession | None
    """``None`` before any session exists: Spark will then start a default one."""
    config: Config

    @property
    def application(self) -> str | None:
        """The id of the Spark application that UDFs built now belong to."""
        return application(self.spark)


def prepare(spark: SparkSession | None = None) -> Prepared:
    """Asks Spark to collect the ledger; returns ``spark``, or the active session, with its configuration.

    Raises :class:`~gpuspark.errors.ConfigError` for an unknown ``spark.gpuspark.*`` key or a bad value.
    """
    spark = spark or active_session()
    config = driver_config(spark)
    if spark is not None:
        enable_ledger(spark, config)
    return Prepared(spark, config)


class UdfCache:
    """The PySpark UDFs of one function, cached so that Spark can recognise repeated expressions.

    A key holds everything that determines the UDF, including the Spark application.
    """

    def __init__(self) -> None:
        self._built: dict[Hashable, Any] = {}

    def get(self, key: Hashable, build: Callable[[], Any]) -> Any:
        """Returns the UDF of ``key``, built at the first call; a new one at every call if ``key`` is ``None``."""
        if key is None:
            return build()
        if key not in self._built:
            self._built[key] = build()
        return self._built[key]


def plain_udf(body: Callable[..., Any], returns: Any, *, by_arrow: bool | None, deterministic: bool = True) -> Any:
    """Returns PySpark's plain UDF of ``body``, which Spark calls row by row."""
    from pyspark.sql import functions

    return _declared(functions.udf(body, returns, useArrow=by_arrow), deterministic)


def arrow_udf(worker: Callable[..., Any], returns: Any, *, deterministic: bool = True) -> Any:
    """Returns PySpark's Arrow UDF of ``worker``, which Spark calls with Arrow columns."""
    from pyspark.sql import functions

    make: Any = functions.arrow_udf  # type: ignore[attr-defined]  # not in PySpark's stubs
    return _declared(make(worker, returns), deterministic)


def pandas_udf(body: Callable[..., Any], returns: Any, form: int | None = None, *, deterministic: bool = True) -> Any:
    """Returns PySpark's pandas UDF of ``body``.

    ``form`` is PySpark's function type; by default PySpark infers it from the type hints.
    """
    from pyspark.sql import functions

    make: Any = functions.pandas_udf  # type: ignore[attr-defined]  # not in PySpark's stubs
    return _declared(make(body, returns, form), deterministic)


def _declared(udf: Any, deterministic: bool) -> Any:
    return udf if deterministic else udf.asNondeterministic()


def is_spark_column(value: Any) -> bool:
    """Whether ``value`` is a column of classic Spark or of Spark Connect. Loads no PySpark to say no."""
    return any(c.__name__ == "Column" and c.__module__.startswith("pyspark.") for c in type(value).__mro__)
