"""``spark.gpuspark.verify.fraction`` finds each silent fault that there was, when it is planted again.

A fault gave a function the program of another one: of what it had taken the function for. So each is planted as that
program, compiled by today's compiler, for the function as it stands; verification must find that the two disagree,
name the row, and end the job.
"""

from __future__ import annotations

import datetime
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import gpuspark as gs
from gpuspark.compiler import programs as compiler
from gpuspark.compiler import rewrite
from gpuspark.config import Config
from gpuspark.dialects.scalar import ScalarUDF
from gpuspark.disk_cache import DiskCache
from gpuspark.errors import VerificationError
from gpuspark.spark.session import configured

NAN = math.nan
RATE, _Job__rate = 2.0, 30.0


@dataclass(frozen=True)
class Fault:
    """A function, and what a fault of the compiler took it for."""

    name: str
    function: Callable[..., Any]
    taken_for: Callable[..., Any]
    columns: tuple[pa.Array, ...]
    result: str = "double"

    def planted(self) -> ScalarUDF:
        """The function with the other one's program."""
        function = gs.udf(self.function, self.result)
        names = tuple(function.signature.parameters)
        right = function.scalar_function(names)
        wrong = rewrite(self.taken_for, tuple(self.taken_for.__code__.co_varnames[: len(names)]))
        lying = replace(right, body=replace(wrong, columns=names), refusals=())
        vars(function)["_prepared"] = {names: lying}
        return function


def _not_missing(x):
    return x if ~np.isnan(x) else -1.0


def _not_missing_as_python(x):
    return x if ~math.isnan(x) else -1.0


def _swapped(function):
    @functools.wraps(function)
    def inner(b, a):
        return function(a, b)

    return inner


@_swapped
def _minus(a, b):
    return a - b


def _net(cents, refund):
    sign = 1
    if refund:
        sign = -0.5  # type: ignore[assignment]
    return cents * sign


def _net_of_floats(cents, refund):
    sign = 1.0
    if refund:
        sign = -0.5
    return cents * sign


def _hoisted(x):
    x = x * 2
    return x + x


def _by_branch(x):
    if x > 0:
        from math import floor as whole
    else:
        from math import ceil as whole  # type: ignore[no-redef]
    return whole(x)


class _Job:
    @staticmethod
    def fee(x):
        return x * __rate  # noqa: F821  (Python reads the global _Job__rate)


class _Money(float):
    def __radd__(self, other):
        return round(other + float(self), 2)


FEE, PLAIN_FEE = _Money(0.1), 0.1


def _seconds(a, b):
    return (b - a).total_seconds()


def _doubles(*values: float) -> tuple[pa.Array, ...]:
    return tuple(pa.array([value]) for value in values)


FAULTS = (
    Fault("3 a NumPy boolean is none of Python's", _not_missing, _not_missing_as_python, _doubles(NAN)),
    Fault("3 NumPy's way to round", lambda x: round(np.fabs(x), 3), lambda x: round(abs(x), 3),
          _doubles(4.2220346638259155e134)),
    Fault("4 parameters that functools.wraps tells of", _minus, lambda a, b: a - b, _doubles(5.0, 3.0)),
    Fault("5 an integer on one path, a float on another", _net, _net_of_floats,
          (pa.array([2**53 + 1]), pa.array([False])), "bigint"),
    Fault("6 an assignment expression before its statement", lambda x: x + (x := x * 2), _hoisted, _doubles(1.0)),
    Fault("7 a global that the worker has otherwise", lambda x: x * RATE, lambda x: x * 5.0, _doubles(1.0)),
    Fault("8 an import of another branch", _by_branch, lambda x: math.ceil(x), _doubles(1.5), "bigint"),
    Fault("9 a private name of a class", _Job.fee, lambda x: x * RATE, _doubles(1.0)),
    Fault("10 a float with arithmetic of its own", lambda x: x + FEE, lambda x: x + PLAIN_FEE, _doubles(0.2)),
    Fault("11 the same NaN in a tuple", lambda a, b: a in (a, b), lambda a, b: abs(a) >= 0.0 or a == b,
          _doubles(NAN, 1.0), "boolean"),
    Fault("12 a zone that was not at UTC", _seconds, lambda a, b: (b - a).total_seconds() + 3600.0,
          (pa.array([datetime.datetime(2018, 12, 31)]), pa.array([datetime.datetime(2019, 1, 2)]))),
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_it_is_found_and_the_row_named(fault: Fault) -> None:
    function = fault.planted()
    with configured(Config(device="cpu", fallback="raise")):
        function(*fault.columns)  # silently wrong
    with (
        configured(Config(device="cpu", fallback="raise", verify_fraction=1.0)),
        pytest.raises(VerificationError, match=r"on cpu and .* in Python for row 0"),
    ):
        function(*fault.columns)


def lookup(table: tuple[np.ndarray, ...]) -> ScalarUDF:
    return gs.udf(lambda i: table[0][i], "double")


def test_1_a_cache_that_hands_out_another_program(monkeypatch) -> None:
    """As when the key does not hold what was captured."""
    monkeypatch.setattr(compiler, "_programs", {})
    monkeypatch.setattr(compiler, "default_cache", lambda: DiskCache(None))
    monkeypatch.setattr(compiler, "program_key", lambda *_: "0" * 64)
    indices = pa.array([0, 1])
    with configured(Config(device="cpu", fallback="raise", verify_fraction=1.0)):
        assert lookup((np.array([0.25, 5.0]),))(indices).to_pylist() == [0.25, 5.0]
        with pytest.raises(VerificationError, match=r"gave 0\.25 on cpu and 0\.75 in Python for row 0"):
            lookup((np.array([0.75, 5.0]),))(indices)


def test_13_an_answer_for_a_date_that_python_does_not_have() -> None:
    """There Python raises; the job ends with its error, and the row."""
    first = datetime.date(1, 1, 1)
    fault = Fault(
        "13", lambda n: (first - datetime.timedelta(n)).toordinal(), lambda n: 1 - n, (pa.array([0, 5]),), "bigint"
    )
    function = fault.planted()
    with configured(Config(device="cpu", fallback="raise")):
        assert function(*fault.columns).to_pylist() == [1, -4]
    with (
        configured(Config(device="cpu", fallback="raise", verify_fraction=1.0)),
        pytest.raises(OverflowError, match="date value out of range") as raised,
    ):
        function(*fault.columns)
    assert any("row=1 device=python" in note for note in raised.value.__notes__)
