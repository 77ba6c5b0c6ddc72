"""The table of operations, and their registration with Numba's compilers.

An implementation's last parameter is ``row``: the pair (address of the status byte, row number). Writing ``MARKED`` to
the byte marks the row, which Python then computes again. The byte is a local variable of the loop; once all calls are
inlined it lives in a register and costs almost nothing.
"""

from __future__ import annotations

import functools
import inspect
import types as python_types
from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils, errors

from gpuspark.compiler.vocabulary import as_written

_INLINE = {"forceinline": True}
NULL_RESULT = 1
"""The bit of a row's status byte that says that the result is null."""
MARKED = 2
"""The bit of a row's status byte that says that Python computes the row again."""
REASON_DELIMITER = "\u00a6"
"""Encloses a reason of ours inside Numba's longer message."""

Choose = Callable[..., Callable[..., Any] | str | None]
"""Maps Numba's types to an implementation, to ``None`` if there is none, or to the reason for that in words."""
_CHOOSERS: dict[str, Choose] = {}
"""The operations by name."""
_STUBS: dict[tuple[str, bool], Callable[..., Any]] = {}
"""The functions that program texts call, by operation and arithmetic mode."""
_FOR_CUDA: list[Callable[[Any, Any], None]] = []
"""Registrations with the CUDA compiler, to be called with its modules ``extending`` and ``libdevice``.

They wait for :func:`enable_cuda`, since importing that compiler takes seconds, which CPU programs should not pay.
"""


def _stub(name: str) -> Callable[..., Any]:
    """Returns a new function called ``name``, to be overloaded in compiled code."""

    def stub(*arguments: Any) -> Any:
        raise RuntimeError("operations exist in compiled programs only")

    return python_types.FunctionType(stub.__code__, {}, name)


def operation(choose: Choose) -> Choose:
    """Registers ``choose(checked, *types)`` under its own name, for both arithmetic modes."""
    _CHOOSERS[choose.__name__.strip("_")] = choose
    for checked in (True, False):
        stub = _stub(f"{choose.__name__.strip('_')}_{'checked' if checked else 'native'}")
        explained = _explained(stub, functools.partial(choose, checked))
        extending.overload(stub, jit_options=_INLINE)(explained)
        _FOR_CUDA.append(functools.partial(_overload, stub, explained))
        _STUBS[choose.__name__.strip("_"), checked] = stub
    return choose


def chooser(name: str) -> Choose:
    """Returns the function registered as the operation ``name``, for operations that fall back on it."""
    return _CHOOSERS[name]


def _overload(stub: Callable[..., Any], choose: Callable[..., Any], compiler: Any, _libdevice: Any) -> None:
    """Registers an operation with the CUDA compiler."""
    compiler.overload(stub)(choose)


def primitive(name: str, cpu: Callable[..., Any], cuda: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """Returns a function of floats for implementations to call.

    It runs ``cpu`` on the CPU, and on CUDA ``cuda`` or, by default, NVIDIA's libdevice function ``name``.
    """
    stub = _stub(name)
    extending.overload(stub, jit_options=_INLINE)(cpu)

    def for_cuda(compiler: Any, libdevice: Any) -> None:
        if cuda is not None:
            compiler.overload(stub)(cuda)
            return
        device = getattr(libdevice, name)
        is_unary = len(inspect.signature(cpu).parameters) == 1
        compiler.overload(stub)(
            (lambda x: lambda x: device(x)) if is_unary else (lambda x, y: lambda x, y: device(x, y))
        )

    _FOR_CUDA.append(for_cuda)
    return stub


def reinterpret(name: str, to: Any) -> Callable[..., Any]:
    """Returns a function that changes the type of a 64-bit value to ``to``, and not its bits."""

    def typed(_context: Any, a: Any) -> Any:
        return to(a), lambda _context, _builder, _signature, arguments: arguments[0]

    return _intrinsic(name, typed)


def convert_bits(name: str, of: Any, to: Any, llvm: ir.Type) -> Callable[..., Any]:
    """Returns a function that reinterprets the bits of a value of type ``of`` as ``to``, in LLVM the type ``llvm``."""

    def typed(_context: Any, a: Any) -> Any:
        return to(of), lambda _context, builder, _signature, arguments: builder.bitcast(arguments[0], llvm)

    return _intrinsic(name, typed)


def _wrapping(name: str) -> Callable[..., Any]:
    """Returns ``add``, ``sub`` or ``mul`` of 64-bit integers that wraps on overflow.

    Numba's own operators tell LLVM that they never overflow, and LLVM may then remove a check of whether they did.
    """

    def typed(_context: Any, a: Any, b: Any) -> Any:
        signature = types.int64(types.int64, types.int64)
        return signature, lambda _context, builder, _signature, arguments: getattr(builder, name)(*arguments)

    return _intrinsic(f"wrapping_{name}", typed)


def _status_byte(_context: Any) -> Any:
    """Types and implements :data:`status_byte`."""

    def code(_context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        return cgutils.alloca_once(builder, ir.IntType(8))

    return types.CPointer(types.uint8)(), code


def _intrinsic(name: str, typed: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function of up to two arguments that inserts LLVM instructions, for both compilers."""
    stub = _stub(name)
    count = len(inspect.signature(typed).parameters) - 1

    def register(compiler: Any) -> None:
        inserted = compiler.intrinsic(typed)
        forms = (lambda: lambda: inserted(), lambda a: lambda a: inserted(a), lambda a, b: lambda a, b: inserted(a, b))
        compiler.overload(stub)(forms[count])

    register(extending)
    _FOR_CUDA.append(lambda cuda, _: register(cuda))
    return stub


def _optional_value(_context: Any, a: Any) -> Any:
    """Types and implements :data:`optional_value`."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_helper(builder, signature.args[0], value=arguments[0]).data

    return a.type(a), code


optional_value = _intrinsic("optional_value", _optional_value)
"""Returns the value of an optional without a check. If it is ``None``, the value is undefined."""


wrap_add, wrap_sub, wrap_mul = (_wrapping(name) for name in ("add", "sub", "mul"))

status_byte = _intrinsic("status_byte", _status_byte)
"""Returns the address of a new byte on the stack."""


def _offset_pointer(_context: Any, a: Any, b: Any) -> Any:
    """Types and implements :data:`offset_pointer`."""

    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.gep(arguments[0], [arguments[1]])

    return a(a, types.int64), code


offset_pointer = _intrinsic("offset_pointer", _offset_pointer)
"""Returns the address of the element ``b`` positions after the address ``a``."""


def enable_cuda() -> None:
    """Registers all operations with the CUDA compiler, once. ``toolchain.start("ptx")`` must have been called."""
    from numba.cuda import extending as cuda_extending
    from numba.cuda import libdevice

    while _FOR_CUDA:
        _FOR_CUDA.pop()(cuda_extending, libdevice)


def stubs(names: tuple[str, ...], checked: bool) -> dict[str, Callable[..., Any]]:
    """Returns the functions to bind to the operations ``names`` in a program text."""
    return {name: _STUBS[name, checked] for name in names}


def _explained(stub: Callable[..., Any], choose: Callable[..., Any]) -> Callable[..., Any]:
    """Returns ``choose`` with the types only, raising a readable reason where there is no implementation."""

    def explained(*numba_types: Any) -> Callable[..., Any]:
        chosen = choose(*numba_types)
        if chosen is None:
            operands = " and ".join(type_in_words(numba_type) for numba_type in numba_types[:-1])
            chosen = f"{as_written(stub.__name__.rsplit('_', 1)[0])} of {operands}"
        if isinstance(chosen, str):
            raise errors.TypingError(f"{REASON_DELIMITER}{chosen}{REASON_DELIMITER}")
        return cast(Callable[..., Any], chosen)

    parameters = [p.replace(annotation=p.empty) for p in inspect.signature(choose).parameters.values()]
    explained.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return explained


def type_in_words(numba_type: Any) -> str:
    """Returns one of Numba's types in words."""
    words = ((is_boolean, "a boolean"), (is_integer, "an integer"), (is_float, "a float"), (is_none, "None"),
             (is_datetime, "a date or timestamp"), (is_duration, "a time difference"))  # fmt: skip
    return next((word for test, word in words if test(numba_type)), str(numba_type))


# --- groups of Numba's types, as Python sees them


def is_boolean(numba_type: Any) -> bool:
    return isinstance(numba_type, types.Boolean | types.BooleanLiteral)


def is_integer(numba_type: Any) -> bool:
    """Returns whether Python would see an ``int``: a boolean is one too."""
    return isinstance(numba_type, types.Integer) or is_boolean(numba_type)


def is_float(numba_type: Any) -> bool:
    return isinstance(numba_type, types.Float)


def is_number(numba_type: Any) -> bool:
    return is_integer(numba_type) or is_float(numba_type)


def is_optional(numba_type: Any) -> bool:
    return isinstance(numba_type, types.Optional)


def is_none(numba_type: Any) -> bool:
    return isinstance(numba_type, types.NoneType)


def is_datetime(numba_type: Any) -> bool:
    """Returns whether the type is a date or a timestamp."""
    return isinstance(numba_type, types.NPDatetime)


def is_duration(numba_type: Any) -> bool:
    return isinstance(numba_type, types.NPTimedelta)
