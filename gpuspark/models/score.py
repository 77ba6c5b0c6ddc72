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
    """``df`` with one more column: what ``model`` makes of ``columns``.

    ``model``: a fitted estimator of scikit-learn, XGBoost or LightGBM, or the path of a file that XGBoost (``.json``,
    ``.ubj``) or LightGBM (``.txt``) saved. It is read here, on the driver, into arrays; workers need none of these
    libraries. ``columns``: the features, names or Spark columns of numbers and booleans, in the order of those that the
    model was fitted to; a name of the frame's is taken whole (``petal.length``), others as ``df.select`` takes them
    (``point.x``). ``output``:

    - ``prediction``: what ``predict`` gives, in its type: ``double`` (XGBoost: ``float``), or a class's label;
    - ``probabilities``: what ``predict_proba`` gives, as ``array<double>`` in the order of the model's classes;
    - ``transformed``: what ``transform`` gives, of a scaler, a PCA or a pipeline that ends in one, ``array<double>``.

    ``name``: the new column's name; ``output`` unless given. Features are read in double precision, null as NaN.
    Models that know missing values send these where they were taught to.

    Raises :class:`~gpuspark.errors.CallError` for a model or an output that is not supported, and for columns that do
    not fit the model; in the task, for a missing or infinite feature that the estimator refuses as well.

    >>> scored = score(df, forest, ["x", "y"], output="probabilities")  # doctest: +SKIP
    """
    from gpuspark.models.estimators import read_model

    scorer = read_model(model)
    if output not in scorer.outputs:
        raise CallError(f"output={output!r}: of this {_called(model)} there is {' and '.join(scorer.outputs)}")
    names, features = _features(df, scorer, columns, model)
    prepare(df.sparkSession)
    scoring = Scoring(scorer, names, output)
    worker = KernelWorker(scoring, {}, call_id(scoring))
    return df.withColumn(name or output, arrow_udf(worker, worker.kernel.result())(*features))


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


def _features(
    df: DataFrame, scorer: Scorer, columns: Sequence[str | Column], model: Any
) -> tuple[list[str], list[Column]]:
    """The names and the columns that the model is given, if they fit it."""
    from pyspark.sql import Column

    if isinstance(columns, str | Column):
        raise CallError(f"columns={columns!r} is one name or column: give a list of them")
    fitted = [str(name) for name in getattr(model, "feature_names_in_", [])]
    if len(columns) != scorer.features:
        raise CallError(
            f"this {_called(model)} was fitted to {scorer.features} features, and is given {len(columns)}"
            f"{f': give columns={fitted}' if fitted else ''}"
        )
    return features_of(df, columns, fitted)


def _called(model: Any) -> str:
    return "model file" if isinstance(model, str) else type(model).__name__
