"""Digests of values: different if Python can distinguish two values, and equal if it cannot."""

from __future__ import annotations

import decimal
import enum
import functools
import math
import struct
import subprocess
import sys
import types
from collections import namedtuple
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuspark.compiler.digest import digest_of
from gpuspark.compiler.source import CannotCompile

(OTHER_NAN,) = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))
SEALED = np.arange(3.0)
SEALED.flags.writeable = False
LEAVES: tuple[Any, ...] = (
    None, False, True, 0, 1, -1, 2**70, 2**5000, 0.0, -0.0, 1.0, math.nan, OTHER_NAN, math.inf, 0j, complex(-0.0, 0),
    "", "0", "None", b"", b"0", ..., range(3), range(0, 3, 1), np.float64(0), np.float64(-0.0), np.int64(0),
    np.float32(0), np.bool_(False), np.datetime64(0, "s"), np.datetime64(0, "ms"), np.array(0.0), np.zeros(1),
    np.zeros(2), -np.zeros(2), np.zeros(2, int), np.zeros((1, 2)), np.zeros((2, 1)), np.zeros(0), np.arange(3.0),
    SEALED, np.arange(6.0)[::2],
    np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(2, 3).copy("F"), np.zeros(2, ">f8"), np.zeros(1, "i4,i4"),
    np.zeros(1, [("a", "i4"), ("b", "i4")]), np.dtype("f8"), np.float64, float, int, abs, math.sin, np.sin, np.cos,
    np.sum,
)  # fmt: skip
VALUES = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.lists(st.sampled_from((0, 0.5, "0", None, (0,))), max_size=3).map(frozenset),
        st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    ),
    max_leaves=4,
)


def alike(one: Any, other: Any) -> bool:
    """Returns whether nothing but their identity distinguishes two values."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float | np.float64):
        return struct.pack("<d", one) == struct.pack("<d", other)
    if isinstance(one, complex):
        return alike(one.real, other.real) and alike(one.imag, other.imag)
    if isinstance(one, np.ndarray):
        seen = (one.dtype, one.shape, str(one.flags), one.tolist().__repr__())
        return bool(seen == (other.dtype, other.shape, str(other.flags), other.tolist().__repr__()))
    if isinstance(one, np.generic):
        return one.dtype == other.dtype and one.tobytes() == other.tobytes()
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict):
        return alike(list(one.items()), list(other.items()))
    if isinstance(one, frozenset):
        return sorted(map(repr, one)) == sorted(map(repr, other))
    return bool(one == other)


@settings(max_examples=500)
@given(one=VALUES, other=VALUES)
def test_values_have_one_digest_exactly_where_they_are_alike(one: Any, other: Any) -> None:
    assert (digest_of(one) == digest_of(other)) == alike(one, other)


def test_all_leaves_have_different_digests() -> None:
    digests = {digest_of(leaf) for leaf in LEAVES}
    assert len(digests) == len(LEAVES) - 1  # range(3) equals range(0, 3, 1)


def defined(text: str, **names: Any) -> Any:
    """Returns the function ``f`` that ``text`` defines in a namespace of ``names``."""
    exec(text, names)
    return names["f"]


def module_with(**values: Any) -> types.ModuleType:
    module = types.ModuleType("settings")
    vars(module).update(values)
    return module


def nested(number: Any) -> types.ModuleType:
    return module_with(inner=module_with(ALPHA=number))


def closed_over(value: Any) -> Any:
    return lambda x: (lambda y: y + value)(x)


def recursive(step: int) -> Any:
    def even(n):
        return n == 0 or odd(n - step)

    def odd(n):
        return n != 0 and even(n - step)

    return even


USES = "def f(x): return x * m.ALPHA"
HELPER = "def f(x): return x + {}"
CALLS = "def f(x): return m.g(x)"
COMPILED = (
    numba.njit(defined(HELPER.format(1))),
    numba.njit(defined(HELPER.format(2))),
    numba.njit(defined(HELPER.format(1)), fastmath=True),
    numba.njit(defined(HELPER.format("K"), K=1)),
    numba.njit(defined(HELPER.format("K"), K=2)),
    numba.njit("int64(int64)")(defined(HELPER.format(1))),
    numba.njit("float64(int64)")(defined(HELPER.format(1))),
)
DIFFERENCES: dict[str, tuple[Any, ...]] = {
    "constants": tuple(defined(HELPER.format(c)) for c in ("1", "1.0", "True", "0.0", "-0.0", "(1, 2)", "(1, 2.0)")),
    "frozensets": tuple(defined(f"def f(x): return x in {c}") for c in ("{1, 2}", "{1, 3}", "{1, 2, 3}", "{1.0, 2}")),
    "inner code": tuple(defined(f"def f(x): return (lambda y: y + {c})(x)") for c in (1, 2)),
    "defaults": tuple(defined(f"def f(x, y={c}): return x + y") for c in ("1", "1.0", "True")),
    "keyword defaults": tuple(defined(f"def f(x, *, y={c}): return x + y") for c in ("1", "1.0")),
    "parameter kinds": tuple(defined(f"def f({p}): return a") for p in ("a, b", "a, /, b", "a, *, b", "a, *b")),
    "globals": tuple(defined("def f(x): return x + K", K=k) for k in (1, 1.0, (1,), np.array([1]), np.array([1.0]))),
    "a name that is not bound": (defined("def f(x): return x + K"), defined("def f(x): return x + K", K=1)),
    "enclosing names": tuple(map(closed_over, (0.0, -0.0, 0))),
    "modules": tuple(defined(USES, m=module_with(ALPHA=v)) for v in (1, 1.0, np.arange(2000.0), np.arange(2000.0) + 1)),
    "modules in modules": tuple(defined("def f(x): return x * m.inner.ALPHA", m=nested(v)) for v in (1, 2)),
    "getattr": tuple(defined("def f(x): return x * getattr(m, 'ALPHA')", m=module_with(ALPHA=v)) for v in (1, 2)),
    "functions": tuple(defined("def f(x): return g(x)", g=defined(HELPER.format(k))) for k in (1, 2)),
    "functions of modules": tuple(defined(CALLS, m=module_with(g=defined(HELPER.format(k)))) for k in (1, 2)),
    "Numba's functions": tuple(defined(CALLS, m=module_with(g=g)) for g in COMPILED),
    "functions that call each other": tuple(map(recursive, (1, 2))),
    "what a name stands for": tuple(defined("def f(x): return g(x)", g=g) for g in (math.sin, math.cos, np.sin, abs)),
}


@pytest.mark.parametrize("what", DIFFERENCES)
def test_functions_differ_by_everything_that_affects_them(what: str) -> None:
    assert len({digest_of(function) for function in DIFFERENCES[what]}) == len(DIFFERENCES[what])


def test_functions_with_one_meaning_have_one_digest() -> None:
    assert digest_of(recursive(1)) == digest_of(recursive(1))
    others = [module_with(ALPHA=1, other=other) for other in (1, 2)]
    assert digest_of(defined(USES, m=others[0])) == digest_of(defined(USES, m=others[1]))
    assert digest_of(defined("def f(x): return x.size", size=1)) == digest_of(
        defined("def f(x): return x.size", size=2)
    )


IN_ANOTHER_PROCESS = """
from gpuspark.compiler.digest import digest_of
names = frozenset({"a", "b", "c", "d", "e"})
def f(x): return x in {"km", "mi", "nm", "ft", "yd"} or x in names
print(digest_of((f, names, set(names))))
"""


def test_every_process_has_the_same_digests() -> None:
    outputs = set()
    for seed in ("1", "2", "3"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[1])}
        command = [sys.executable, "-c", IN_ANOTHER_PROCESS]
        outputs.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(outputs) == 1
    assert len(outputs.pop()) == 65


class Money(float):
    pass


class Level(enum.IntEnum):
    HIGH = 5


class Lazy(types.ModuleType):
    pass


Point = namedtuple("Point", "x y")
MATRIX: Any = np.array([[1.0]]).view(np.matrix)
WITHOUT_DIGEST = {
    "a Money (a float with methods of its own): use float": Money(1),
    "a Level (an IntEnum): use Level.HIGH.value": Level.HIGH,
    "a Point (a tuple with methods of its own): use tuple": Point(1, 2),
    "a matrix (a ndarray with methods of its own): use np.asarray": MATRIX,
    "a MaskedArray (a ndarray": np.ma.array([1.0], mask=[True]),
    "a Lazy (a module with methods of its own)": Lazy("lazy"),
    "a Decimal, which is not a number": decimal.Decimal(1),
    "a partial": functools.partial(abs, 1),
    "an array of objects": np.array([None]),
}


@pytest.mark.parametrize("reason", WITHOUT_DIGEST)
def test_a_value_of_unknown_content_is_refused_by_its_class(reason: str) -> None:
    for value in (WITHOUT_DIGEST[reason], (1, WITHOUT_DIGEST[reason]), closed_over(WITHOUT_DIGEST[reason])):
        with pytest.raises(CannotCompile) as refusal:
            digest_of(value)
        assert reason in str(refusal.value)


def test_what_holds_itself_has_a_digest() -> None:
    ring: list[Any] = [1]
    ring.append(ring)
    assert digest_of(ring) != digest_of([1, [1]])


def test_a_number_of_any_length_has_a_digest() -> None:
    assert digest_of(10**5000) != digest_of(10**5000 + 1)
