"""Spark's user-defined types, such as the vectors of ``pyspark.ml``.

Spark passes a column of such a type to an Arrow UDF in its storage form (a vector as a struct), without the type. Only
PySpark's own ``udf`` gets the type, and rebuilds the objects. So PySpark's ``udf`` runs every function that returns
such a type, and every function that does not compile once this process has loaded a user-defined type. For the rest,
the worker recognises the storage form of vectors and matrices, and refuses it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from gpuspark.compiler.source import CannotCompile, read
from gpuspark.errors import CallError

if TYPE_CHECKING:
    import pyarrow as pa

_VECTOR = "type:int8!,size:int32,indices:[int32!],values:[double!]"
_MATRIX = (
    "type:int8!,numRows:int32!,numCols:int32!,colPtrs:[int32!],rowIndices:[int32!],values:[double!],isTransposed:bool!"
)
_STORED = {f"{{{_VECTOR}}}": "vectors", f"{{{_MATRIX}}}": "matrices"}
"""The storage forms of ``pyspark.ml`` and ``pyspark.mllib``: field names and Arrow types, ``!`` for not nullable."""

_OBJECT_FUNCTIONS = ("len", "list", "tuple", "sum", "sorted", "enumerate", "type", "isinstance", "str", "repr")
_NUMBER_ATTRIBUTES = ("days", "seconds", "microseconds", "total_seconds", "real", "imag")
"""Attributes of numbers and time differences. Those of dates are not among them: objects have a ``year`` too."""


def any_loaded() -> bool:
    """Returns whether this process has loaded a user-defined type, such as that of ``pyspark.ml``'s vectors."""
    types = sys.modules.get("pyspark.sql.types")
    return types is not None and bool(types.UserDefinedType.__subclasses__())


def holds_user_type(declared: Any) -> bool:
    """Returns whether a PySpark type is user-defined or has a user-defined part. Strings cannot name such types."""
    if isinstance(declared, str):
        return False
    parts = [getattr(declared, name, None) for name in ("elementType", "keyType", "valueType")]
    parts += [field.dataType for field in getattr(declared, "fields", ())]
    return hasattr(declared, "sqlType") or any(holds_user_type(part) for part in parts if part is not None)


def object_uses(function: Callable[..., Any]) -> list[str]:
    """Returns where, with file and line, a function uses a parameter as only an object can be used: by indexing,
    iterating, taking its length or type, and so on."""
    try:
        source = read(function)
    except CannotCompile:
        return []
    parameters = source.node.args
    names = {a.arg for a in (*parameters.posonlyargs, *parameters.args, *parameters.kwonlyargs)}
    uses = []
    for node in ast.walk(source.node):
        name = _used_as_object(node)
        if name in names:
            where = source.where(node if hasattr(node, "lineno") else None)
            uses.append(f"{where}: {name} is not used as a number, and may be of a user-defined type")
    return uses


def _used_as_object(node: ast.AST) -> str | None:
    """Returns the name that ``node`` uses as a number or date cannot be used; ``None`` if there is none."""
    match node:
        case ast.Subscript(value=ast.Name(id=name)) | ast.FormattedValue(value=ast.Name(id=name)):
            return name
        case ast.For(iter=ast.Name(id=name)) | ast.comprehension(iter=ast.Name(id=name)):
            return name
        case ast.Call(func=ast.Name(id=called), args=[ast.Name(id=name), *_]) if called in _OBJECT_FUNCTIONS:
            return name
        case ast.Attribute(value=ast.Name(id=name), attr=attribute) if attribute not in _NUMBER_ATTRIBUTES:
            return name
    return None


def refuse_stored(function: str, column: str, arrow: pa.DataType) -> None:
    """Raises :class:`~gpuspark.errors.CallError` for a column that holds vectors or matrices as structs."""
    for form in _forms(arrow):
        if form in _STORED:
            raise CallError(
                f"{function}: column {column} holds {_STORED[form]} of pyspark.ml or pyspark.mllib, which Spark "
                f"passes as structs here. Give pyspark.ml.functions.vector_to_array({column}), or use PySpark's udf."
            )


def _forms(arrow: pa.DataType) -> Iterator[str]:
    """Yields the storage form of a type, and of all types nested in it."""
    import pyarrow.types as is_

    if is_.is_struct(arrow) or is_.is_list(arrow) or is_.is_map(arrow):
        yield _form(arrow)
        for n in range(arrow.num_fields):
            yield from _forms(arrow.field(n).type)


def _form(arrow: pa.DataType) -> str:
    import pyarrow.types as is_

    if is_.is_struct(arrow):
        return f"{{{','.join(f'{field.name}:{_field_form(field)}' for field in arrow)}}}"
    return f"[{_field_form(arrow.value_field)}]" if is_.is_list(arrow) else str(arrow)


def _field_form(field: pa.Field) -> str:
    return _form(field.type) + ("" if field.nullable else "!")
