"""``gs.score``: a fitted model over the rows of a Spark frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpuspark.column_kernel import KernelWorker
from gpuspark.errors import CallError
from gpuspark.records import call_id
from gpuspark.session import driver_config, enable_ledger

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame

    from gpuspark.scoring import Output, Scorer

_NUMBERS = {"tinyint", "smallint", "int", "bigint", "float", "double", "boolean"}


def score(
    df: DataFrame,
    model: Any,
    columns: Sequence[str],
    *,
    output: Output = "prediction",
    name: str | None = None,
) -> DataFrame:
    """``df`` with one more column: what ``model`` makes of ``columns``.

    ``model``: a fitted estimator of scikit-learn, XGBoost or LightGBM, or the path of a file that XGBoost (``.json``,
    ``.ubj``) or LightGBM (``.txt``) saved. It is read here, on the driver, into arrays; workers need none of these
    libraries. ``columns``: the features, in the order of those that the model was fitted to. ``output``:

    - ``prediction``: what ``predict`` gives, in its type: ``double`` (XGBoost: ``float``), or a class's label;
    - ``probabilities``: what ``predict_proba`` gives, as ``array<double>`` in the order of the model's classes;
    - ``transformed``: what ``transform`` gives, of a scaler, a PCA or a pipeline that ends in one, ``array<double>``.

    ``name``: the new column's name; ``output`` unless given. Features are read in double precision, null as NaN.
    Models that know missing values send these where they were taught to.

    Raises :class:`~gpuspark.errors.CallError` for a model or an output that is not supported, and for columns that do
    not fit the model; in the task, for a missing or infinite feature that the estimator refuses as well.

    >>> scored = score(df, forest, ["x", "y"], output="probabilities")  # doctest: +SKIP
    """
    from pyspark.sql import functions

    from gpuspark.estimators import read_model

    scorer = read_model(model)
    if output not in scorer.outputs:
        raise CallError(f"output={output!r}: of this {_called(model)} there is {' and '.join(scorer.outputs)}")
    features = _features(df, scorer, columns, model)
    spark = df.sparkSession
    enable_ledger(spark, driver_config(spark))
    make: Any = functions.arrow_udf  # type: ignore[attr-defined]  # not in PySpark's stubs
    scoring = Scoring(scorer, columns, output)
    worker = KernelWorker(scoring, {}, call_id(scoring))
    return df.withColumn(name or output, make(worker, worker.kernel.result())(*features))


class Scoring:
    """A model and what is asked of it, as the function that Spark's workers call with the features."""

    __name__ = "score"

    def __init__(self, scorer: Scorer, columns: Sequence[str], output: Output) -> None:
        self.scorer, self.columns, self.output = scorer, tuple(columns), output

    def compute(self, *features: pa.Array) -> pa.Array:
        """The new column of one batch."""
        return self.scorer.compute(features, self.columns, self.output)

    def result(self, **_options: Any) -> str:
        """Spark's name of the new column's type."""
        return self.scorer.result(self.output)


def _features(df: DataFrame, scorer: Scorer, columns: Sequence[str], model: Any) -> list[Column]:
    """The columns that the model is given, if they fit it."""
    if isinstance(columns, str):
        raise CallError(f"columns={columns!r} is one name: give a list of names")
    if len(columns) != scorer.features:
        raise CallError(f"this {_called(model)} was fitted to {scorer.features} features, and is given {len(columns)}")
    fitted = [str(name) for name in getattr(model, "feature_names_in_", [])]
    if sorted(fitted) == sorted(columns) and fitted != list(columns):
        raise CallError(f"this {_called(model)} was fitted to its features in another order: give columns={fitted}")
    found = []
    for name, kind in df.select(*columns).dtypes:
        if kind not in _NUMBERS and not kind.startswith("decimal"):
            raise CallError(f"the feature {name} is a column of {kind}, and must be one of numbers: encode or cast it")
        found.append(df[name].cast("double") if kind.startswith("decimal") else df[name])
    return found


def _called(model: Any) -> str:
    return "model file" if isinstance(model, str) else type(model).__name__
