"""The parameters that a call of a function really has, and the code that it runs, whatever its attributes say."""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpuspark as gs
from gpuspark.compiler.source import own_signature, read
from gpuspark.compiler.vocabulary import plain_function


def shown(b, a=5.0, *, k=7):
    return ("shown", b, a, k)


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns ``function`` with the attributes of ``shown``."""
    return functools.wraps(shown)(function)


def signed(function: Any) -> Any:
    function.__signature__ = inspect.signature(shown)
    return function


class Methods:
    @wrapped
    def method(self, a, b=2):
        return a, b

    @classmethod
    @signed
    def of_class(cls, a, *, b=2):
        return a, b

    @staticmethod
    @wrapped
    def static(a, b, /):
        return a, b

    @signed
    def __call__(self, a, k=3):
        return a, k


def redefaulted(a, b):
    return a, b


redefaulted.__defaults__ = (4,)


def recoded(b, a):
    return a, b


recoded.__code__ = (lambda a, k=1: (a, k)).__code__


CALLABLES: dict[str, Callable[..., Any]] = {
    "plain": lambda a, b=1: (a, b),
    "wraps": wrapped(lambda a, k=10.0: (a, k)),
    "wraps twice": wrapped(wrapped(lambda a: a)),
    "any arguments": wrapped(lambda *a, **k: (a, k)),
    "__signature__": signed(lambda x, a: (x, a)),
    "positional only": wrapped(lambda a, b=1, /: (a, b)),
    "by name only": wrapped(lambda a, *, b: (a, b)),
    "partial": functools.partial(wrapped(lambda a, b, k=1: (a, b, k)), 1),
    "partial by name": functools.partial(wrapped(lambda a, b, k=1: (a, b, k)), b=1),
    "bound method": Methods().method,
    "class method": Methods().of_class,
    "static method": Methods().static,
    "callable object": Methods(),
    "cached": functools.lru_cache(wrapped(lambda a, b=1: (a, b))),
    "defaults set later": redefaulted,
    "code set later": recoded,
}
NAMES = ("a", "b", "k", "x")


@pytest.mark.parametrize("name", CALLABLES)
@given(count=st.integers(0, 4), named=st.dictionaries(st.sampled_from(NAMES), st.integers()))
def test_the_own_signature_accepts_what_a_call_accepts(name: str, count: int, named: dict[str, int]) -> None:
    arguments = list(range(count))
    try:
        CALLABLES[name](*arguments, **named)
        accepted = True
    except TypeError:
        accepted = False
    try:
        own_signature(CALLABLES[name]).bind(*arguments, **named)
        bound = True
    except TypeError:
        bound = False
    assert bound == accepted


def test_a_built_in_has_the_signature_that_it_tells() -> None:
    assert own_signature(abs) == inspect.signature(abs)


@gs.udf("double")
def doubled(x):
    return 2.0 * x


def test_the_body_of_a_decorated_function_is_its_own() -> None:
    """``functools.wraps`` copies every attribute of the wrapped function, also if that is a decorated one."""

    @functools.wraps(doubled)
    def plus_one(y):
        return doubled(y) + 1.0

    assert plain_function(doubled) is doubled.__gpuspark_body__
    outer: Any = plus_one
    assert plain_function(outer) is outer
    again = gs.udf(plus_one, "string", nulls="pass")
    assert (again.__gpuspark_body__, again.declared, again.nulls) == (plus_one, "string", "pass")
    assert list(again.signature.parameters) == ["y"]


@pytest.mark.parametrize("other", [functools.lru_cache(doubled.__gpuspark_body__), functools.partial(doubled), len])
def test_a_call_of_anything_else_is_not_a_call_of_a_plain_function(other: Any) -> None:
    assert plain_function(other) is None


def test_an_object_that_only_claims_to_hold_a_body_is_not_trusted() -> None:
    class Imitation:
        def __init__(self) -> None:
            self.__gpuspark_body__ = doubled.__gpuspark_body__

        def __call__(self, x):
            return 3.0 * x

    class Overruled(type(doubled)):  # type: ignore[misc]
        def __call__(self, x):
            return 3.0 * x

    assert plain_function(Imitation()) is None
    assert plain_function(Overruled(doubled.__gpuspark_body__, "double")) is None


@gs.udf("double")
@wrapped
def any_arguments(*numbers, **named):
    return sum(numbers) + 10 * named.get("k", 0) + 100 * named.get("a", 0)


def test_columns_given_by_name_arrive_by_name() -> None:
    one, two = pa.array([1.0]), pa.array([2.0])
    assert any_arguments(one, two).to_pylist() == [3.0]
    assert any_arguments(one, k=two).to_pylist() == [21.0]
    assert any_arguments(k=one, a=two).to_pylist() == [210.0]


CONSTANTS = (lambda a: 1), (lambda a: 2), (lambda b: 1), (lambda: (1, -2)), (lambda a, b="x": None), (lambda a: True)


@pytest.mark.parametrize("body", CONSTANTS)
def test_a_lambda_that_gives_a_constant_is_found_among_others_of_its_line(body) -> None:
    """Python 3.12 keeps no positions for such code."""
    node = read(body).node
    assert isinstance(node, ast.Lambda)
    assert [argument.arg for argument in node.args.args] == list(inspect.signature(body).parameters)
    assert repr(ast.literal_eval(node.body)) == repr(body(*map(str, inspect.signature(body).parameters)))
