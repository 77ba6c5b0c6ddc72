"""The CPU's ``exp`` and ``log``, compared with mpmath in forty digits and with the C library at edge cases."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpuspark as gs
from gpuspark.accounting.work import Work
from gpuspark.columns.types import parse
from gpuspark.config import Config
from gpuspark.execution.runner import Runner


def _exp(x):
    return np.exp(x)


def _log(x):
    return np.log(x)


def on_cpu(body: Callable[[Any], Any], numbers: Sequence[float]) -> list[float]:
    """Returns the results of ``body`` on the CPU."""
    config = Config.from_mapping({"spark.gpuspark.device": "cpu", "spark.gpuspark.fallback": "raise"})
    runner = Runner(gs.udf(body, "double").scalar_function(["x"]), [parse("double")], config)
    results: list[float] = runner.run([pa.array(numbers, pa.float64())], Work()).to_pylist()
    return results


def worst(body: Callable[[Any], Any], exact: Callable[[Any], Any], numbers: Sequence[float]) -> float:
    """Returns the largest error, in units in the last place of the double nearest to the exact value."""
    with mpmath.workdps(40):
        return max(
            float(abs(mpmath.mpf(result) - true) / math.ulp(float(true)))
            for result, true in ((y, exact(mpmath.mpf(x))) for x, y in zip(numbers, on_cpu(body, numbers), strict=True))
        )


@given(st.lists(st.floats(-745.1, 709.7), min_size=1, max_size=50))
def test_exp_is_within_one_unit(numbers: list[float]) -> None:
    assert worst(_exp, mpmath.exp, numbers) < 1


@given(st.lists(st.floats(5e-324, 1.7e308), min_size=1, max_size=50))
def test_log_is_within_one_unit(numbers: list[float]) -> None:
    assert worst(_log, mpmath.log, [x for x in numbers if x != 1.0] or [2.0]) < 1


def test_both_are_within_one_unit_where_it_is_hardest() -> None:
    """Near powers of two and halfway between them, where the reduction changes its step, and in between."""
    random = np.random.default_rng(3)
    steps = [(n + 0.5) * math.log(2) * (1 + e) for n in range(-1070, 1020, 7) for e in (-1e-15, 0.0, 1e-15)]
    assert worst(_exp, mpmath.exp, [*steps, *random.uniform(-1, 1, 3000), *random.uniform(-708, 709, 3000)]) < 1
    turns = [math.ldexp(math.sqrt(0.5) * (1 + e), n) for n in range(-1020, 1020, 7) for e in (-2e-16, 0.0, 2e-16)]
    near_one = [1.0 + math.ldexp(s, -n) for n in range(1, 53) for s in (-1.0, 1.0)]
    assert worst(_log, mpmath.log, [*turns, *near_one, *np.exp(random.uniform(-700, 700, 3000))]) < 1


EDGE_ULP = 2
"""Our result and the C library's are each within one unit of the exact value, on every processor."""
EDGES = [0.0, -0.0, 1.0, math.inf, -math.inf, math.nan, 709.782712893384, 709.7827128933841, 710.0, 1e300]
EDGES += [-708.4, -745.1332191019411, -745.1332191019412, -746.0, -1e300, 5e-324, 2.0**-1022, 1.7976931348623157e308]


@pytest.mark.parametrize("function", [np.exp, np.log])
def test_the_edges_are_the_c_librarys(function: Callable[[Any], Any]) -> None:
    body = _exp if function is np.exp else _log
    with np.errstate(all="ignore"):
        expected = [float(function(x)) for x in EDGES]
    for x, result, true in zip(EDGES, on_cpu(body, EDGES), expected, strict=True):
        if math.isfinite(true) and true != 0.0:
            assert abs(result - true) <= EDGE_ULP * math.ulp(true), x
        else:
            assert struct.pack("d", abs(result)) == struct.pack("d", abs(true)), x


@given(numbers=st.lists(st.floats(), min_size=1, max_size=40))
def test_a_rows_result_does_not_depend_on_its_position(numbers: list[float]) -> None:
    """Rows are computed several at a time, and the last ones one by one."""
    whole = on_cpu(_exp, numbers), on_cpu(_log, numbers)
    alone = [on_cpu(_exp, [x])[0] for x in numbers], [on_cpu(_log, [x])[0] for x in numbers]
    assert list(map(repr, whole[0])) == list(map(repr, alone[0]))
    assert list(map(repr, whole[1])) == list(map(repr, alone[1]))
