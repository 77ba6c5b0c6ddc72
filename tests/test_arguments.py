"""Binding of arguments to parameters: a call through gpuspark binds them as Python does."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuspark.columns.types import parse
from gpuspark.compiler.source import own_signature
from gpuspark.config import Config
from gpuspark.dialects.arguments import bind
from gpuspark.dialects.scalar_worker import SqlWorker
from gpuspark.errors import CallError
from gpuspark.execution.scalar import ScalarFunction
from gpuspark.spark.session import configured

NAMES = ("a", "b", "c", "d")


@st.composite
def functions(draw: st.DrawFn) -> Any:
    """A function of up to four parameters of every kind, with defaults and stars, that returns its arguments."""
    names = NAMES[: draw(st.integers(0, 4))]
    first, last = sorted(draw(st.tuples(st.integers(0, len(names)), st.integers(0, len(names)))))
    optional = draw(st.integers(0, last))
    texts = [f"{name}={9 + n}" if n >= optional else name for n, name in enumerate(names)]
    parts = texts[:first] + (["/"] if first else []) + texts[first:last]
    starred = draw(st.booleans())
    if starred or last < len(names):
        parts += ["*values" if starred else "*", *texts[last:]]
    if draw(st.booleans()):
        parts.append("**names")
    shown = ", ".join([*names, *(part.lstrip("*") for part in ("*values", "**names") if part in parts)])
    space: dict[str, Any] = {}
    exec(f"def told({', '.join(parts)}): return repr([{shown}])", space)
    return space["told"]


calls = st.tuples(st.integers(0, 5), st.lists(st.sampled_from([*NAMES, "x", "y"]), unique=True, max_size=4))


@given(functions(), calls)
def test_arguments_are_bound_as_python_binds_them(function, call) -> None:
    places, names = call
    values, named = list(range(places)), {name: 100 + n for n, name in enumerate(names)}
    signature = own_signature(function)
    by_place = {name for name, p in signature.parameters.items() if p.kind is p.POSITIONAL_ONLY}
    try:
        expected = function(*values, **named)
        if by_place & set(names):  # ``**names`` may hold the name of a parameter that is given by position only
            raise TypeError("which columns cannot tell apart")
    except TypeError:
        with pytest.raises(CallError, match=r"Give (one column per parameter|the column another name)\."):
            bind("told", signature, values, named)
        return
    bound = bind("told", signature, values, named)
    made = ScalarFunction.of(function, tuple(bound), nulls="pass", result=parse("string"), arrow=pa.string())
    assert made.call(tuple(bound.values())) == expected
    if values or names:
        worker = SqlWorker([made], "a call")
        with configured(Config(device="python")):
            columns = [pa.array([value]) for value in values]
            assert worker(*columns, **{n: pa.array([v]) for n, v in named.items()}).to_pylist() == [expected]


def test_a_call_from_sql_without_columns_is_refused() -> None:
    def count_them(*values):
        return len(values)

    made = ScalarFunction.of(count_them, (), nulls="pass", result=parse("bigint"), arrow=pa.int64())
    with pytest.raises(CallError, match="count_them was called from SQL without columns"):
        SqlWorker([made], "a call")()
