"""The arguments of array functions: columns, arrays, numbers, :class:`Out`, :class:`Scratch`, :class:`Constant`."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.compiler import Parameter
from gpuspark.errors import CallError


class Out:
    """An output array of ``length`` values of ``dtype``, which the function writes and the caller gets. It is not
    initialised, so the function must write every value."""

    def __init__(self, dtype: Any, length: int) -> None:
        self.dtype, self.length = np.dtype(dtype), int(length)

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return self.length * int(self.dtype.itemsize)


class Scratch:
    """Working memory for one item: ``length`` values of ``dtype``, not initialised."""

    def __init__(self, dtype: Any, length: int) -> None:
        self.dtype, self.length = np.dtype(dtype), int(length)

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return self.length * int(self.dtype.itemsize)


class Constant:
    """An array that is the same for many batches, such as a matrix, a model or an index. It is pickled with the
    function (Spark broadcasts large ones), and copied to a GPU once per process, where it stays.

    >>> Constant([1.0, 2.0]).array
    array([1., 2.])
    """

    def __init__(self, array: Any) -> None:
        self.array: NDArray[Any] = np.ascontiguousarray(array)
        self.array.flags.writeable = False

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of dtype, shape and values."""
        return hashlib.sha256(f"{self.array.dtype} {self.array.shape}".encode() + self.array.tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.array)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"<gpuspark Constant of {self.array.shape} {self.array.dtype}>"

    def __getstate__(self) -> dict[str, Any]:
        return {"array": self.array, "digest": self.digest}


def argument_of(function: str, name: str, value: Any) -> Any:
    """Returns ``value`` as a flat array or a number; an :class:`Out`, :class:`Scratch` or :class:`Constant` as it is.

    Raises :class:`~gpuspark.errors.CallError` for anything else, and for a column with nulls.
    """
    if isinstance(value, Out | Scratch | Constant):
        return value
    if isinstance(value, bool | int | np.integer | np.bool_):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value)
    if hasattr(value, "null_count"):
        if value.null_count:
            raise CallError(
                f"{function}: {name} has {value.null_count} nulls, which array functions do not have. Pass "
                "column.values, and column.validity as another argument."
            )
        from gpuspark.columns.batch import Column

        value = Column(value.to_arrow() if isinstance(value, Column) else value).values
    if hasattr(value, "get"):  # a CuPy array
        value = value.get()
    if isinstance(value, np.ndarray) and value.dtype.kind in "iufb":
        flat = np.ascontiguousarray(value).reshape(-1)
        return flat.view(np.uint8) if flat.dtype == bool else flat
    raise CallError(
        f"{function}: {name} is a {type(value).__name__}. An array function takes arrays and columns of numbers, "
        "numbers, gs.Constant, gs.Out and gs.Scratch."
    )


def parameter_of(value: Any) -> Parameter:
    """Returns the compiler's description of an argument."""
    if isinstance(value, int):
        return Parameter("int64", False)
    if isinstance(value, float):
        return Parameter("float64", False)
    if isinstance(value, Scratch):
        return Parameter(str(value.dtype), True, value.length)
    dtype = value.array.dtype if isinstance(value, Constant) else value.dtype
    return Parameter("uint8" if dtype.kind == "b" else str(dtype), True)  # a boolean is a byte


def bytes_of(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Returns the bytes of ``array`` as a view; eight zero bytes for an empty array, so that it has an address."""
    flat = array.reshape(-1)
    return flat.view(np.uint8) if flat.size else np.zeros(8, np.uint8)
