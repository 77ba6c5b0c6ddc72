"""Private names in classes are mangled as Python does it."""

from __future__ import annotations

import ast

import pyarrow as pa
import pytest

import gpuspark as gs
from gpuspark.compiler import rewrite
from gpuspark.compiler.private_names import mangle_private_names
from gpuspark.testing import run_on

SOURCE = """
class {name}:
    def outer(self, __a, *, __b=1):
        global __g
        __g = __a.__c + __d__ + __ + ___ + _e + __f.__g__(h=__b)
        def inner(__i):
            return lambda __j: __i + __k + __j
        class __Inner:
            def method(self):
                return __l
        import __m
        from n import o as __p
        try:
            __q: int = [__r for __r in __g]
        except __s as __t:
            pass
        match __a:
            case [__u, *__v]:
                pass
            case {{**__w}}:
                pass
            case __x:
                pass
"""


def names_of(code) -> list[tuple[str, ...]]:
    """Returns the names in ``code`` and in each code object inside it."""
    inner = [names for constant in code.co_consts if hasattr(constant, "co_code") for names in names_of(constant)]
    return [tuple(sorted({*code.co_names, *code.co_varnames, *code.co_freevars, *code.co_cellvars})), *inner]


@pytest.mark.parametrize("name", ["Job", "_Job", "__Job", "Job_", "_", "__"])
def test_the_names_are_pythons_own(name: str) -> None:
    """The oracle is Python's compiler: the changed tree, compiled outside any class, has the names of the original."""
    text = SOURCE.format(name=name)
    tree = ast.parse(text)
    mangle_private_names(tree)
    for node in ast.walk(tree):  # Python does not mangle names in a class called "_"
        if isinstance(node, ast.ClassDef):
            node.name = "_"
    expected, actual = names_of(compile(text, "job", "exec")), names_of(compile(tree, "job", "exec"))
    class_names = {name, "__Inner", f"_{name.lstrip('_')}__Inner", "_"}
    assert [set(names) - class_names for names in actual] == [set(names) - class_names for names in expected]


_Job__rate, __rate = 30.0, 2.0


class Job:
    @staticmethod
    def fee(x, __extra=1.0):
        __sum = x * __rate
        return __sum + __extra


def test_a_method_reads_the_names_of_its_class() -> None:
    assert "_gs_op_mul" in rewrite(Job.fee, ["x"]).text
    table = pa.table({"x": [1.0, 2.0]})
    assert run_on("cpu", gs.udf(Job.fee, "double"), table).values == [Job.fee(1.0), Job.fee(2.0)] == [31.0, 61.0]
