"""Builds PySpark's UDFs around gpuspark's workers.

Everything that makes a Spark column or DataFrame calls :func:`prepare` first: it reads the configuration, which may be
invalid, and asks Spark to keep the ledger, unless ``spark.gpuspark.enabled=false``. :class:`UdfCache` makes each UDF
once.
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
    """The session that a UDF is built for, and its configuration. Without a session, Spark will start a default one."""

    spark: SparkSession | None
    config: Config

    @property
    def application(self) -> str | None:
        """The id of the session's Spark application."""
        return application(self.spark)


def prepare(spark: SparkSession | None = None) -> Prepared:
    """Returns ``spark``, or the active session, with its configuration, after asking Spark to keep the ledger.

    Raises :class:`~gpuspark.errors.ConfigError` for an unknown ``spark.gpuspark.*`` key or a bad value.
    """
    spark = spark or active_session()
    config = driver_config(spark)
    if spark is not None:
        enable_ledger(spark, config)
    return Prepared(spark, config)


class UdfCache:
    """The PySpark UDFs of one function. Each is made once, so that Spark can recognise repeated expressions. A key
    contains everything that a UDF depends on, including the Spark application."""

    def __init__(self) -> None:
        self._built: dict[Hashable, Any] = {}

    def get(self, key: Hashable, build: Callable[[], Any]) -> Any:
        """Returns the UDF under ``key``, made by ``build`` at the first call; a new one if ``key`` is ``None``."""
        if key is None:
            return build()
        if key not in self._built:
            self._built[key] = build()
        return self._built[key]


def plain_udf(body: Callable[..., Any], returns: Any, *, by_arrow: bool | None, deterministic: bool = True) -> Any:
    """Returns PySpark's own UDF of ``body``, which is called row by row."""
    from pyspark.sql import functions

    return _declared(functions.udf(body, returns, useArrow=by_arrow), deterministic)


def arrow_udf(worker: Callable[..., Any], returns: Any, *, deterministic: bool = True) -> Any:
    """Returns PySpark's Arrow UDF of ``worker``, which is called with Arrow columns."""
    from pyspark.sql import functions

    make: Any = functions.arrow_udf  # type: ignore[attr-defined]  # not in PySpark's stubs
    return _declared(make(worker, returns), deterministic)


def pandas_udf(body: Callable[..., Any], returns: Any, form: int | None = None, *, deterministic: bool = True) -> Any:
    """Returns PySpark's pandas UDF of ``body``. ``form`` is PySpark's number of its form; without it, type hints
    decide."""
    from pyspark.sql import functions

    make: Any = functions.pandas_udf  # type: ignore[attr-defined]  # not in PySpark's stubs
    return _declared(make(body, returns, form), deterministic)


def _declared(udf: Any, deterministic: bool) -> Any:
    return udf if deterministic else udf.asNondeterministic()
