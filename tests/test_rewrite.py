"""The rewriting: what it refuses and where, what it captures, and that sources are verified."""

from __future__ import annotations

import ast
import enum
import importlib
import math
import re
import sys
import types
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import gpuspark as gs
from gpuspark.compiler import CannotCompile, rewrite
from gpuspark.compiler.source import read
from gpuspark.testing import run_on

LINES: list[float | str] = [1.0, "two"]
HUGE = 2**70
SINGLE = np.float32(1.5)


def tries(a):
    try:
        return 1 / a
    finally:
        a = 0


def comprehends(a):
    return sum([x * a for x in (1, 2)])


def prints(a):
    print(a)
    return a


def uses_list(a):
    return LINES[0] + a


def uses_huge(a):
    return a + HUGE


def uses_single(a):
    return a * SINGLE


def uses_string(a):
    return a + "x"


def recurses(a):
    return recurses(a - 1)


def starred(*a):
    return a[0]


def generates(a):
    yield a


def has_inner(a):
    def inner(x):
        return x

    return inner(a)


def deletes(a):
    del a
    return 1


def unknown_name(a):
    return a + not_defined_anywhere  # noqa: F821


def conditional_walrus(a):
    return a > 0 and (b := a) > 1 and b


def late_walrus(a):
    return a + (a := 2.0)


def walrus_twice(a):
    return (b := a) + (b := 2.0)  # noqa: F841


def imports_in_a_branch(a):
    if a > 0:
        from math import floor as whole
    else:
        from math import ceil as whole
    return whole(a)


def imports_late(a):
    root = sqrt(a)  # noqa: F821
    from math import sqrt  # noqa: F401

    return root


REFUSED = {
    tries: "try",
    comprehends: "a call of sum",
    prints: "a call of print",
    uses_list: "the name 'LINES'",
    uses_huge: "more than 64 bits",
    uses_single: "float32",
    uses_string: "the string 'x'",
    recurses: "recurses calls itself",
    starred: r"\*args",
    generates: "generator",
    has_inner: "a function inside the body",
    deletes: "del",
    unknown_name: "the name 'not_defined_anywhere'",
    conditional_walrus: "b := where",
    late_walrus: "a := where",
    walrus_twice: "b := where",
    imports_in_a_branch: "import that is not at the head",
    imports_late: "import that is not at the head",
}


@pytest.mark.parametrize("body", REFUSED, ids=lambda f: f.__name__)
def test_a_refusal_names_construct_file_and_line(body) -> None:
    with pytest.raises(CannotCompile) as refusal:
        rewrite(body)
    first = body.__code__.co_firstlineno
    last = max(line for *_, line in body.__code__.co_lines() if line)
    message = str(refusal.value)
    assert re.search(REFUSED[body], message)
    lines = [int(n) for n in re.findall(r"test_rewrite\.py, line (\d+)", message)]
    assert lines
    assert all(first <= line <= last for line in lines)


class Level(enum.IntEnum):
    HIGH = 5


class Money(float):
    pass


class Lazy(types.ModuleType):
    RATE = 2.0


HIGH, FEE, PAIR, LAZY = Level.HIGH, Money(0.1), (1.0, Money(2)), Lazy("lazy")
SCALED: Any = np.array([1.0, 2.0]).view(np.matrix)
MASKED: Any = np.ma.array([1.0, 2.0], mask=[True, False])
SWAPPED, TRUTH = np.ones(2, ">f8"), np.bool_(True)
PLAIN = types.ModuleType("plain")
vars(PLAIN).update(FEE=FEE, __getattr__=lambda name: 3.0)
USES_OF_SUBCLASSES: dict[str, Any] = {
    "HIGH is a Level (an IntEnum): use Level.HIGH.value": lambda a: a + HIGH,
    "FEE is a Money (a float with methods of its own): use float(...)": lambda a: FEE + a,
    "PLAIN.FEE is a Money (a float": lambda a: a + PLAIN.FEE,  # type: ignore[attr-defined]
    "PAIR is a Money (a float": lambda a: PAIR[0] + a,
    "SCALED is a matrix (a ndarray with methods of its own): use np.asarray(...)": lambda a: SCALED[a],
    "MASKED is a MaskedArray": lambda a: MASKED[a],
    "LAZY is a Lazy (a module with methods of its own)": lambda a: a * LAZY.RATE,
    "attribute .MADE": lambda a: a * PLAIN.MADE,  # type: ignore[attr-defined]
    "a Money (a float": lambda a, b=FEE: a + b,
    "captured NumPy value of >f8": lambda a, b=SWAPPED: b[a],
    "captured NumPy value of bool": lambda a, b=TRUTH: a + b,
}


@pytest.mark.parametrize("reason", USES_OF_SUBCLASSES)
def test_objects_of_subclasses_are_not_constants(reason: str) -> None:
    """They may have operators of their own, while the constants of a program are plain numbers."""
    with pytest.raises(CannotCompile) as refusal:
        rewrite(USES_OF_SUBCLASSES[reason], ["a"])
    assert reason in str(refusal.value)


def test_reasons_that_name_what_is_wrong_with_a_function() -> None:
    async def waits(a):
        return a

    def asserts(a):
        assert a > 0
        return a

    with pytest.raises(CannotCompile, match="a call of waits gives a coroutine"):
        rewrite(waits)
    with pytest.raises(CannotCompile, match="pytest has rewritten the asserts of asserts"):
        rewrite(asserts)


def test_every_construct_in_the_way_is_listed() -> None:
    def several(a):
        print(a)
        return {a}

    with pytest.raises(CannotCompile) as refusal:
        rewrite(several)
    assert "print" in str(refusal.value)
    assert "a set" in str(refusal.value)


@pytest.mark.parametrize("thing", [len, math.sqrt, "x", int], ids=repr)
def test_only_plain_functions_have_a_source(thing) -> None:
    with pytest.raises(CannotCompile, match="not a plain Python function"):
        read(thing)


def test_a_function_without_a_source_is_refused() -> None:
    scope: dict = {}
    exec(compile("def f(a): return a", "<typed into a console>", "exec"), scope)
    with pytest.raises(CannotCompile, match="source of f cannot be found"):
        read(scope["f"])


def test_evaluated_text_is_not_taken_for_that_of_a_program_given_with_c(monkeypatch) -> None:
    """Python 3.13 keeps the text of ``python -c`` under the same name as evaluated text."""
    import linecache

    monkeypatch.setitem(linecache.cache, "<string>", (11, None, ["import sys\n"], "<string>"))
    with pytest.raises(CannotCompile, match="source of <lambda> cannot be found"):
        read(eval("lambda v: v"))


def test_a_source_edited_since_its_import_is_noticed(tmp_path, monkeypatch) -> None:
    import importlib
    import linecache

    (tmp_path / "edited_module.py").write_text("def f(a):\n    return a + 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("edited_module")
    assert read(module.f).function is module.f
    (tmp_path / "edited_module.py").write_text("def f(a):\n    return a + 2\n")
    linecache.clearcache()
    with pytest.raises(CannotCompile, match="not what Python loaded"):
        read(module.f)


def test_lambdas_of_one_line_are_told_apart() -> None:
    plus, minus = (lambda a: a + 1), (lambda a: a - 1)
    assert "_gs_op_add" in rewrite(plus).text
    assert "_gs_op_sub" in rewrite(minus).text
    either, nested = (lambda a: 1.0 if a else a + 1), (lambda a: (lambda b: b)(a))
    assert "_gs_op_truth" in rewrite(either).text
    assert isinstance(read(nested).node.body, ast.Call)


def test_captured_values_are_the_current_ones() -> None:
    bonus = 1.5

    def body(a):
        return a + bonus

    before = rewrite(body).text
    bonus = 2.5
    assert before != rewrite(body).text


@pytest.mark.parametrize("terms", [150, 300, 600])
def test_a_very_long_expression_runs_somewhere(tmp_path, monkeypatch, terms: int) -> None:
    """Syntax trees are walked recursively, also by Python's library: too deep is a reason, not an error."""
    (tmp_path / "long_expression.py").write_text(f"def f(a):\n    return {' + '.join(['a'] * terms)}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "long_expression", raising=False)
    f = gs.udf("double")(importlib.import_module("long_expression").f)
    plan = f.explain(["double"])
    assert plan.device in ("sql", "cpu") or "nested too deeply" in str(plan)
    table = pa.table({"a": [1.0, None]})
    assert run_on("cpu", f, table, fallback="silent").values == [terms, None]


def test_what_stands_on_some_path_is_left_to_python_and_named() -> None:
    def sorts(a):
        if a > 0:
            return sorted([a])[0]
        return a

    def sorts_always(a):
        if a > 0:
            return sorted([a])[0]
        return sorted([a])[-1]

    (left,) = rewrite(sorts).left_to_python
    assert re.fullmatch(r"a call of sorted with 1 arguments \(test_rewrite\.py, line \d+\)", left)
    with pytest.raises(CannotCompile, match="a call of sorted"):
        rewrite(sorts_always)


def test_what_another_row_may_see_is_not_left_to_python() -> None:
    state = {"rows": 0}

    def counts(a):
        if a > 0:
            state["rows"] = 1
        return a

    def sets_a_global(a):
        if a > 0:
            global SINGLE
            SINGLE = 1.0
        return a

    rows = [1.0]

    def appends(a):
        if a > 0:
            rows.append(a)
        return a + rows[0]

    changed = "rows .* is read, and may be changed"
    for body, reason in (
        (counts, r"assignment to state\['rows'\]"),
        (sets_a_global, "global"),
        (appends, changed),
    ):
        with pytest.raises(CannotCompile, match=reason):
            rewrite(body)


def test_a_local_name_is_not_looked_up_outside() -> None:
    """``sqrt`` is local here, although no assignment that compiles binds it."""

    def f(a):
        if a > 0:

            def sqrt(x):
                return x

            return sqrt(a)
        return sqrt(a)

    with pytest.raises(CannotCompile, match="a call of sqrt"):
        rewrite(f)


def test_a_string_serves_as_a_flag() -> None:
    def scaled(a, unit="km"):
        if unit == "km":
            return a
        elif unit in ("mi", "mile"):
            return a * 1.609
        return unit

    assert "_gs_op_mul" not in rewrite(scaled, ["a"]).text


def test_defaults_become_constants_and_arrays_stay_arrays() -> None:
    table = np.array([1.0, 2.0])

    def body(a, b=-3):
        return table[a] + b

    constants = rewrite(body, ["a"]).constants
    assert any(v is table for v in constants.values())
    assert -3 in [v for v in constants.values() if isinstance(v, int)]


def integer_or_float(x, n):
    y = n if n > 2 else x
    return isinstance(y, int)


def counted_twice(x, n):
    return isinstance((x := x + n), (int, float))


def any_class(v):
    return isinstance(v, int)


def passed_on(x, n):
    return any_class(n if n > 2 else x)


def no_class(x, n):
    return isinstance(x, [int])


@pytest.mark.parametrize("body", [integer_or_float, counted_twice, passed_on, no_class])
def test_isinstance_is_asked_of_columns_only(body) -> None:
    with pytest.raises(CannotCompile, match="isinstance"):
        rewrite(body, ["x", "n"])
