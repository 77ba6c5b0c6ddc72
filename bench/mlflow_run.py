"""Logs a run of the benchmark to MLflow: parameters, metrics and the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gpuspark.bench.results import CaseResult


def log(store: str, cases: Sequence[CaseResult], suite: str, folder: Path) -> None:
    """Logs to the tracking store ``store``: a database such as ``sqlite:///runs.db``, a folder, or a server.

    Metrics are median seconds, named by case and path. MLflow is not a dependency of gpuspark: ``pip install mlflow``,
    or, with a pyarrow newer than MLflow allows, ``mlflow-skinny`` with ``sqlalchemy`` and ``alembic``.
    """
    import mlflow

    mlflow.set_tracking_uri(store)
    mlflow.set_experiment("gpuspark bench")
    with mlflow.start_run():
        machine = cases[0].facts["machine"]
        mlflow.log_params({"suite": suite, **{key: str(value) for key, value in machine.items()}})
        for case in cases:
            mlflow.log_param(f"{case.name} elements", case.facts["elements"])
            for name, path in case.paths.items():
                mlflow.log_metric(metric_name(f"{case.name} {name} seconds"), path.time.median)
        for file in ("report.md", "report.html", "records.jsonl"):
            mlflow.log_artifact(str(folder / file))


def metric_name(text: str) -> str:
    """Returns ``text`` with only the characters that MLflow allows: letters, digits, spaces and ``_-./``.

    >>> metric_name("a (b) seconds")
    'a _b_ seconds'
    """
    return "".join(c if c.isalnum() or c in " _-./" else "_" for c in text)
