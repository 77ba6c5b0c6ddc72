"""The table of operations, and how one of them reaches Numba's compilers.

An implementation's last parameter is ``row``: the pair (status byte, row number). Writing ``MARKED`` to
the byte asks for the row to be computed again by Python. The byte is a variable of the loop's, whose
address goes through every call: once all is inlined it lives in a register, and costs next to nothing.
"""

from __future__ import annotations

import functools
import inspect
import re
import types as python_types
from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils, errors

_INLINE = {"forceinline": True}
NULL_RESULT = 1
MARKED = 2
REASON_MARK = "\u00a6"
"""Stands around a reason inside the compiler's own, longer, message."""

Choose = Callable[..., Callable[..., Any] | str | None]
"""For types: the implementation, ``None`` where there is none, or the reason for that in words."""
_CHOOSERS: dict[str, Choose] = {}
_STUBS: dict[tuple[str, bool], Callable[..., Any]] = {}
_FOR_CUDA: list[Callable[[Any, Any], None]] = []
"""What is still to be registered with the CUDA compiler, given its ``extending`` and ``libdevice``.
Importing that compiler takes seconds, which programs for the CPU do not pay."""


def _stub(name: str) -> Callable[..., Any]:
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
    """The chooser that is registered under ``name``, for operations that fall back on it."""
    return _CHOOSERS[name]


def _overload(stub: Callable[..., Any], choose: Callable[..., Any], compiler: Any, _libdevice: Any) -> None:
    compiler.overload(stub)(choose)


def primitive(name: str, cpu: Callable[..., Any], cuda: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """A function of floats: ``cpu`` on the CPU; on CUDA ``cuda``, or what NVIDIA's libdevice has under ``name``."""
    stub = _stub(name)
    extending.overload(stub, jit_options=_INLINE)(cpu)

    def for_cuda(compiler: Any, libdevice: Any) -> None:
        if cuda is not None:
            compiler.overload(stub)(cuda)
            return
        device = getattr(libdevice, name)
        one = len(inspect.signature(cpu).parameters) == 1
        compiler.overload(stub)((lambda x: lambda x: device(x)) if one else (lambda x, y: lambda x, y: device(x, y)))

    _FOR_CUDA.append(for_cuda)
    return stub


def reinterpret(name: str, to: Any) -> Callable[..., Any]:
    """A function that gives the same 64 bits the type ``to``."""

    def typed(_context: Any, a: Any) -> Any:
        return to(a), lambda _context, _builder, _signature, arguments: arguments[0]

    return _intrinsic(name, typed)


def convert_bits(name: str, of: Any, to: Any, llvm: ir.Type) -> Callable[..., Any]:
    """A function that reads the bits of an ``of`` as a ``to``, which is ``llvm`` to LLVM."""

    def typed(_context: Any, a: Any) -> Any:
        return to(of), lambda _context, builder, _signature, arguments: builder.bitcast(arguments[0], llvm)

    return _intrinsic(name, typed)


def _wrapping(name: str) -> Callable[..., Any]:
    """``add``, ``sub`` or ``mul`` of 64-bit whole numbers, of which the low 64 bits count. Numba's own tell LLVM
    that they never overflow, and LLVM may then drop a check of whether they did."""

    def typed(_context: Any, a: Any, b: Any) -> Any:
        implementation = types.int64(types.int64, types.int64)
        return implementation, lambda _context, builder, _signature, arguments: getattr(builder, name)(*arguments)

    return _intrinsic(f"wrapping_{name}", typed)


def _status_byte(_context: Any) -> Any:
    def code(_context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        return cgutils.alloca_once(builder, ir.IntType(8))

    return types.CPointer(types.uint8)(), code


def _intrinsic(name: str, typed: Callable[..., Any]) -> Callable[..., Any]:
    """A function of up to two arguments that is a few instructions of LLVM's, with either compiler."""
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
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_helper(builder, signature.args[0], value=arguments[0]).data

    return a.type(a), code


optional_value = _intrinsic("optional_value", _optional_value)
"""The value of an optional, which the caller knows not to be ``None``, or does not use if it is."""


wrap_add, wrap_sub, wrap_mul = (_wrapping(name) for name in ("add", "sub", "mul"))

status_byte = _intrinsic("status_byte", _status_byte)
"""The address of a byte of the program's own."""


def _offset_pointer(_context: Any, a: Any, b: Any) -> Any:
    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.gep(arguments[0], [arguments[1]])

    return a(a, types.int64), code


offset_pointer = _intrinsic("offset_pointer", _offset_pointer)
"""The address of the element ``b`` places after ``a``."""


def enable_cuda() -> None:
    """Registers everything with the CUDA compiler, once. It must have been started (``toolchain.start``)."""
    from numba.cuda import extending as cuda_extending
    from numba.cuda import libdevice

    while _FOR_CUDA:
        _FOR_CUDA.pop()(cuda_extending, libdevice)


def stubs(names: tuple[str, ...], checked: bool) -> dict[str, Callable[..., Any]]:
    """What the operations called ``names`` are bound to in a program's text."""
    return {name: _STUBS[name, checked] for name in names}


def _explained(stub: Callable[..., Any], choose: Callable[..., Any]) -> Callable[..., Any]:
    """``choose``, with a reason that a reader understands where there is no implementation."""

    def explained(*numba_types: Any) -> Callable[..., Any]:
        implementation = choose(*numba_types)
        if implementation is None:
            operands = " and ".join(type_in_words(numba_type) for numba_type in numba_types[:-1])
            implementation = f"{as_written(stub.__name__.rsplit('_', 1)[0])} of {operands}"
        if isinstance(implementation, str):
            raise errors.TypingError(f"{REASON_MARK}{implementation}{REASON_MARK}")
        return cast(Callable[..., Any], implementation)

    parameters = [p.replace(annotation=p.empty) for p in inspect.signature(choose).parameters.values()]
    explained.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return explained


_SYMBOLS = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**", "lshift": "<<",
    "rshift": ">>", "and": "&", "or": "|", "xor": "^", "neg": "-", "pos": "+", "invert": "~", "real": ".real",
    "imag": ".imag", "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "round_to": "round",
    "range_bound": "range", "range_step": "range", "is_element": "'in'",
}  # fmt: skip


def as_written(name: str) -> str:
    """The operation ``name`` as a body writes it: ``np.sign`` for ``np_sign``, ``+`` for ``unsettled_add_left``."""
    bare = re.sub("^(maybe_numpy|numpy|mixed)_|_(both|left|right)$", "", name)
    return _SYMBOLS.get(bare) or re.sub("^(math|np)_", r"\1.", bare)


def type_in_words(numba_type: Any) -> str:
    """One of Numba's types in words."""
    words = ((is_boolean, "a boolean"), (is_integer, "an integer"), (is_float, "a float"), (is_none, "None"),
             (is_datetime, "a date or timestamp"), (is_duration, "a time difference"))  # fmt: skip
    return next((word for test, word in words if test(numba_type)), str(numba_type))


# --- the numba_types of Numba's types, as Python sees them


def is_boolean(numba_type: Any) -> bool:
    return isinstance(numba_type, types.Boolean | types.BooleanLiteral)


def is_integer(numba_type: Any) -> bool:
    """Python's ``bool`` is an ``int`` too."""
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
    """A date or a timestamp."""
    return isinstance(numba_type, types.NPDatetime)


def is_duration(numba_type: Any) -> bool:
    return isinstance(numba_type, types.NPTimedelta)
