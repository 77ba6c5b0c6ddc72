"""User-defined types of Spark, the vectors of ``pyspark.ml`` among them.

Spark hands a column of such a type to an Arrow UDF as what it is stored as (a vector as a struct), and does not tell
the type. It tells PySpark's own ``udf``, which makes the objects again. So a function that returns such a type is
PySpark's from the start; so is one that no device can compile, where this process has loaded a user-defined type. The
rest is found in the worker by the form that vectors and matrices are stored in, and refused.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from gpuspark.compiler.source import CannotCompile, read
from gpuspark.compiler.vocabulary import ATTRIBUTES
from gpuspark.errors import CallError

if TYPE_CHECKING:
    import pyarrow as pa

_VECTOR = "type:int8!,size:int32,indices:[int32!],values:[double!]"
_MATRIX = (
    "type:int8!,numRows:int32!,numCols:int32!,colPtrs:[int32!],rowIndices:[int32!],values:[double!],isTransposed:bool!"
)
_STORED = {f"{{{_VECTOR}}}": "vectors", f"{{{_MATRIX}}}": "matrices"}
"""How ``pyspark.ml`` and ``pyspark.mllib`` store what they have: names, types in Arrow, ``!`` where nulls are not."""

_FOR_OBJECTS = ("len", "list", "tuple", "sum", "sorted", "enumerate", "type", "isinstance", "str", "repr")
_OF_NUMBERS = (*ATTRIBUTES, "total_seconds")


def any_loaded() -> bool:
    """Whether this process has loaded a class of user-defined types, such as that of ``pyspark.ml``'s vectors."""
    types = sys.modules.get("pyspark.sql.types")
    return types is not None and bool(types.UserDefinedType.__subclasses__())


def holds_user_type(declared: Any) -> bool:
    """Whether a type of PySpark's is user-defined, or one of its parts is. No text names a user-defined type."""
    if isinstance(declared, str):
        return False
    parts = [getattr(declared, name, None) for name in ("elementType", "keyType", "valueType")]
    parts += [field.dataType for field in getattr(declared, "fields", ())]
    return hasattr(declared, "sqlType") or any(holds_user_type(part) for part in parts if part is not None)


def takes_apart(function: Callable[..., Any]) -> list[str]:
    """Where a function uses a parameter as no number is used: indexed, measured, walked through, told its type; with
    file and line."""
    try:
        source = read(function)
    except CannotCompile:
        return []
    given = source.node.args
    names = {a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)}
    found = []
    for node in ast.walk(source.node):
        name = _used_as_object(node)
        if name in names:
            where = source.where(node if hasattr(node, "lineno") else None)
            found.append(f"{where}: {name} is no number, and may be of a user-defined type")
    return found


def _used_as_object(node: ast.AST) -> str | None:
    """The name that ``node`` uses as no number or date is used."""
    match node:
        case ast.Subscript(value=ast.Name(id=name)) | ast.FormattedValue(value=ast.Name(id=name)):
            return name
        case ast.For(iter=ast.Name(id=name)) | ast.comprehension(iter=ast.Name(id=name)):
            return name
        case ast.Call(func=ast.Name(id=called), args=[ast.Name(id=name), *_]) if called in _FOR_OBJECTS:
            return name
        case ast.Attribute(value=ast.Name(id=name), attr=attribute) if attribute not in _OF_NUMBERS:
            return name
    return None


def refuse_stored(function: str, column: str, arrow: pa.DataType) -> None:
    """Raises :class:`~gpuspark.errors.CallError` for a column that holds vectors or matrices as structs."""
    for form in _forms(arrow):
        if form in _STORED:
            raise CallError(
                f"{function}: column {column} holds {_STORED[form]} of pyspark.ml or pyspark.mllib, which Spark hands "
                f"on as structs here. Give pyspark.ml.functions.vector_to_array({column}), or use PySpark's own udf."
            )


def _forms(arrow: pa.DataType) -> Iterator[str]:
    """The forms of a type and of all its parts."""
    import pyarrow.types as is_

    if is_.is_struct(arrow) or is_.is_list(arrow) or is_.is_map(arrow):
        yield _form(arrow)
        for n in range(arrow.num_fields):
            yield from _forms(arrow.field(n).type)


def _form(arrow: pa.DataType) -> str:
    import pyarrow.types as is_

    if is_.is_struct(arrow):
        return f"{{{','.join(f'{field.name}:{_of_field(field)}' for field in arrow)}}}"
    return f"[{_of_field(arrow.value_field)}]" if is_.is_list(arrow) else str(arrow)


def _of_field(field: pa.Field) -> str:
    return _form(field.type) + ("" if field.nullable else "!")
