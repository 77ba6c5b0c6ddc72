"""``gs.score``: a fitted model over the rows of a Spark frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpuspark.accounting.entries import call_id
from gpuspark.dialects.kernel_worker import KernelWorker
from gpuspark.errors import CallError
from gpuspark.models.features import features_of
from gpuspark.spark.builder import arrow_udf, prepare

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame

    from gpuspark.models.scorer import Output, Scorer


def score(
    df: DataFrame,
    model: Any,
    columns: Sequence[str | Column],
    *,
    output: Output = "prediction",
    name: str | None = None,
) -> DataFrame:
    """Returns ``df`` with a new column of the predictions of ``model`` for ``columns``.

    ``model`` is a fitted estimator of scikit-learn, XGBoost or LightGBM, or the path of a file saved by XGBoost
    (``.json``, ``.ubj``) or LightGBM (``.txt``). The driver converts it to arrays; workers need none of these
    libraries.

    ``columns`` are the features, in the order in which the model was fitted: names, or Spark columns of numbers and
    booleans. A string that is the whole name of a column is that column (``petal.length``); others are resolved as by
    ``df.select`` (``point.x``).

    ``output`` is one of:

    - ``prediction``: the result of ``predict``: ``double`` (XGBoost: ``float``), or the label of a class;
    - ``probabilities``: the result of ``predict_proba``, as ``array<double>`` in the order of the model's classes;
    - ``transformed``: the result of ``transform`` for a scaler, a PCA or a pipeline that ends in one, as
      ``array<double>``.

    ``name`` is the new column's name, by default ``output``. Features are converted to double precision and null to
    NaN. Models that support missing values treat NaN as missing.

    Raises :class:`~gpuspark.errors.CallError` for a model or an output that is not supported, and for columns that do
    not fit the model; in the task also for a missing or infinite feature that the estimator rejects.

    >>> scored = score(df, forest, ["x", "y"], output="probabilities")  # doctest: +SKIP
    """
    from gpuspark.models.estimators import read_model

    scorer = read_model(model)
    if output not in scorer.outputs:
        raise CallError(f"output={output!r}: this {_name_of(model)} has {' and '.join(scorer.outputs)}")
    names, features = _features(df, scorer, columns, model)
    prepare(df.sparkSession)
    scoring = Scoring(scorer, names, output)
    worker = KernelWorker(scoring, {}, call_id(scoring))
    return df.withColumn(name or output, arrow_udf(worker, worker.kernel.result())(*features))


class Scoring:
    """A model and the output wanted: the function that Spark's workers call with the features."""

    __name__ = "score"

    def __init__(self, scorer: Scorer, columns: Sequence[str], output: Output) -> None:
        self.scorer, self.columns, self.output = scorer, tuple(columns), output

    def compute(self, *features: pa.Array) -> pa.Array:
        """Returns the new column for one batch of features."""
        return self.scorer.compute(features, self.columns, self.output)

    def result(self, **_options: Any) -> str:
        """Returns Spark's name of the new column's type."""
        return self.scorer.result(self.output)


def _features(
    df: DataFrame, scorer: Scorer, columns: Sequence[str | Column], model: Any
) -> tuple[list[str], list[Column]]:
    """Returns the names and the columns of the features, once checked against the model."""
    from pyspark.sql import Column

    if isinstance(columns, str | Column):
        raise CallError(f"columns={columns!r} is one name or column: give a list of them")
    fitted = [str(name) for name in getattr(model, "feature_names_in_", [])]
    if len(columns) != scorer.features:
        raise CallError(
            f"this {_name_of(model)} was fitted to {scorer.features} features, and is given {len(columns)}"
            f"{f': give columns={fitted}' if fitted else ''}"
        )
    return features_of(df, columns, fitted)


def _name_of(model: Any) -> str:
    return "model file" if isinstance(model, str) else type(model).__name__
