"""Recognises type hints that make PySpark's ``udf`` call a function with whole columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_type_hints

from gpuspark.compiler.source import own_signature


def vectorised_as(function: Callable[..., Any]) -> Literal["pandas", "arrow"] | None:
    """Returns what PySpark's ``udf`` makes of a function with these type hints if ``useArrow`` is not given: a pandas
    UDF, an Arrow UDF, or ``None`` for one that is called row by row. PySpark itself decides; it is asked only if a hint
    names pandas or pyarrow.
    """
    signature = own_signature(function)
    hints = [signature.return_annotation, *(p.annotation for p in signature.parameters.values())]
    if any(isinstance(hint, str) for hint in hints):
        try:
            hints += get_type_hints(function).values()
        except (NameError, TypeError):
            return None  # PySpark cannot resolve them either
    if not any(package in str(hint) for hint in hints for package in ("pandas.", "pyarrow.")):
        return None
    from pyspark.errors import PySparkException
    from pyspark.sql.pandas.typehints import infer_eval_type_for_udf
    from pyspark.util import PythonEvalType

    try:
        eval_type = infer_eval_type_for_udf(function)
    except (PySparkException, TypeError):
        return None  # hints that PySpark does not know: it warns, and calls the function row by row
    names = [name for name, number in vars(PythonEvalType).items() if number == eval_type]
    return "pandas" if any("PANDAS" in name for name in names) else "arrow" if names else None
