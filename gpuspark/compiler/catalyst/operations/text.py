"""The operations on strings that mean the same in Spark as in Python: strings of the collation ``UTF8_BINARY``, which
compare by code points."""

from __future__ import annotations

from gpuspark.compiler.catalyst.operations.registry import lowers
from gpuspark.compiler.catalyst.paths import Path
from gpuspark.compiler.catalyst.trees import Refused, call
from gpuspark.compiler.catalyst.values import Items, Operand, Value, boolean, of_constant, whole


def _string(path: Path, value: Value) -> Value:
    value = path.as_kind(value, "string")
    if value.kind != "string":
        raise Refused(f"a {value.kind} where a string is needed")
    return value


@lowers("len")
def length(path: Path, a: Value | Items) -> Operand:
    if isinstance(a, Items):
        return of_constant(len(a.items))
    return whole(call("bigint", call("length", _string(path, a).tree)), 0, 2**31 - 1)


@lowers("contains")
def contains(path: Path, whole_text: Value, part: Value) -> Operand:
    return boolean(call("contains", _string(path, whole_text).tree, _string(path, part).tree))


@lowers("startswith")
def startswith(path: Path, whole_text: Value, part: Value) -> Operand:
    return boolean(call("startswith", _string(path, whole_text).tree, _string(path, part).tree))


@lowers("endswith")
def endswith(path: Path, whole_text: Value, part: Value) -> Operand:
    return boolean(call("endswith", _string(path, whole_text).tree, _string(path, part).tree))
