"""Compiles a program text for column types: to machine code for the CPU, or to PTX for CUDA.

A program loops over the rows (CPU) or has one thread per row (PTX). Its parameters are 64-bit words: for each column
the address of its values (a boolean column: the address of its bits, then the offset of the first bit), and with
``nulls="pass"`` the address and first bit of its validity bitmap; then the addresses of the results and of one status
byte per row; then the number of rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import numba
import numpy as np
from llvmlite import binding
from numba import types
from numba.core import errors as numba_errors
from numba.core import ir

from gpuspark.columns.types import ColumnType
from gpuspark.compiler.array_functions import program_text as array_text
from gpuspark.compiler.array_functions import with_compiled_callees
from gpuspark.compiler.operations import (  # noqa: F401  (importing them registers the operations)
    bits,
    datetimes,
    mathematics,
    mixed,
    numbers,
    numpy_scalars,
    values,
)
from gpuspark.compiler.operations.elementary import float_of_bits
from gpuspark.compiler.operations.registry import (
    REASON_DELIMITER,
    enable_cuda,
    is_boolean,
    is_float,
    is_integer,
    is_optional,
    offset_pointer,
    status_byte,
    stubs,
)
from gpuspark.compiler.rewrite import Body
from gpuspark.compiler.source import CannotCompile
from gpuspark.compiler.toolchain import processor, start
from gpuspark.compiler.unit import ENTRY, OP
from gpuspark.devices.protocol import Target

if TYPE_CHECKING:
    from gpuspark.compiler.requests import ArrayRequest, Request

_BYTES = types.CPointer(types.uint8)
_RESULT_TYPES = {
    "boolean": types.uint8,
    "date": datetimes.DATE,
    "timestamp": datetimes.TIMESTAMP,
    "interval": datetimes.DURATION,
}
_LOAD_FORMS = {
    "integer": "np.int64({data}[i])",
    "float": "np.float64({data}[i])",
    "date": "{op}date({data}[i], row)",
    "timestamp": "{op}timestamp({data}[i], row)",
    "interval": "{op}duration({data}[i], row)",
    "boolean": "{op}bit({data}, {data}_bit + i, row)",
}


def build(request: Request, target: Target) -> tuple[str, bytes]:
    """Returns the entry point's name and the code. Raises :class:`CannotCompile` with what the compiler refused."""
    text = program_text(request.columns, target, nullable=request.nullable)
    signature = types.void(*_parameters(request.columns, request.result, nullable=request.nullable))
    compile_text = _machine_code if target == "cpu" else _ptx
    try:
        return compile_text(request.body, text, signature, request.checked)
    except numba_errors.NumbaError as error:
        raise CannotCompile(_refusal(error)) from error
    except RecursionError:
        raise CannotCompile("an expression is nested too deeply for the compiler") from None


def program_text(columns: Sequence[ColumnType], target: Target, *, nullable: bool) -> str:
    """Returns the text of the loop (CPU) or of the kernel (PTX) that calls a body."""
    arguments: list[str] = []
    loads: list[str] = []
    for n, column in enumerate(columns):
        data = f"data{n}"
        arguments += [data, f"{data}_bit"] if column.kind == "boolean" else [data]
        load = _LOAD_FORMS[column.kind].format(data=data, op=OP)
        if nullable:
            arguments += [f"valid{n}", f"valid{n}_bit"]
            load = f"{OP}nullable({load}, {OP}bit(valid{n}, valid{n}_bit + i, row), row)"
        loads.append(load)
    row_statements = [
        "byte[0] = 0",
        "row = (byte, i)",
        f"{ENTRY}({', '.join([*loads, 'out', 'row'])})",
        "status[i] = byte[0]",
    ]
    head = f"def program({', '.join([*arguments, 'out', 'status', 'count'])}):"
    loop = ["for i in range(count):"] if target == "cpu" else ["i = cuda.grid(1)", "if i < count:"]
    lines = ["byte = status_byte()", *loop, *(f"    {line}" for line in row_statements)]
    return "\n".join([head, *(f"    {line}" for line in lines)])


def _parameters(columns: Sequence[ColumnType], result: ColumnType, *, nullable: bool) -> Iterator[Any]:
    """Yields the Numba types of a program's parameters."""
    for column in columns:
        if column.kind == "boolean":
            yield from (_BYTES, types.int64)
        else:
            name = "float" if column.kind == "float" else "int"
            yield types.CPointer(getattr(types, f"{name}{column.bits}"))
        if nullable:
            yield from (_BYTES, types.int64)
    default = getattr(types, f"{'float' if result.kind == 'float' else 'int'}{result.bits}", None)
    yield from (types.CPointer(_RESULT_TYPES.get(result.kind, default)), _BYTES, types.int64)


def _namespace(body: Body, text: str, checked: bool, jit: Callable[..., Any]) -> dict[str, Any]:
    """Returns the namespace of an executed program text, whose functions see each other compiled by ``jit``."""
    operations = (*body.operations, "store", "bit", "nullable", "date", "timestamp", "duration")
    namespace: dict[str, Any] = {"np": np, "status_byte": status_byte, **body.constants}
    namespace |= {OP + name: stub for name, stub in stubs(operations, checked).items()}
    exec(compile(body.text, "<gpuspark body>", "exec"), namespace)
    for name in [n for n in namespace if re.fullmatch(r"_gs_f\d+", n)]:
        namespace[name] = jit(namespace[name])
    exec(compile(text, "<gpuspark program>", "exec"), namespace)
    return namespace


def _machine_code(body: Body, text: str, signature: Any, checked: bool) -> tuple[str, bytes]:
    """Returns the entry point's name and an object file for this machine's processor."""
    namespace = _namespace(body, text, checked, numba.njit(error_model="numpy", forceinline=True))
    entry_and_code = object_file(namespace["program"], signature)
    _refuse_mixed(namespace)
    return entry_and_code


def object_file(program: Callable[..., Any], signature: Any) -> tuple[str, bytes]:
    """Returns the entry point's name and an object file for this machine's processor that holds ``program``."""
    options: dict[str, Any] = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    dispatcher = numba.njit(signature, **options)(program)
    compiled = dispatcher.overloads[dispatcher.signatures[0]]
    text = compiled.library.get_llvm_str()
    if "@NRT_" in text:
        raise CannotCompile("it creates arrays, lists or strings: use a Scratch parameter instead")
    name, features = processor()
    machine = binding.Target.from_default_triple().create_target_machine(
        cpu=name, features=features, opt=3, reloc="pic"
    )
    return compiled.fndesc.llvm_func_name, machine.emit_object(binding.parse_assembly(text))


def _ptx(body: Body, text: str, signature: Any, checked: bool) -> tuple[str, bytes]:
    """Returns the entry point's name and PTX for the oldest architecture of the installed CUDA, which newer GPUs load
    too."""
    entry, library = cuda_library(body, text, signature, checked)
    (ptx,) = library.get_asm_strs(cc=baseline())
    return entry, ptx.encode()


def cuda_library(body: Body, text: str, signature: Any, checked: bool) -> tuple[str, Any]:
    """Returns the entry point's name and numba-cuda's code library for it."""
    cuda = _cuda()
    namespace = {**_namespace(body, text, checked, cuda.jit(device=True)), "cuda": cuda}
    exec(compile(text, "<gpuspark program>", "exec"), namespace)
    entry_and_library = _linked(namespace["program"], signature)
    _refuse_mixed(namespace)
    return entry_and_library


def _cuda() -> Any:
    """Returns the module ``numba.cuda`` with our operations registered.

    Raises :class:`CannotCompile` if NVIDIA's compiler does not start.
    """
    start("ptx")
    enable_cuda()
    from numba import cuda

    return cuda


def _linked(program: Callable[..., Any], signature: Any) -> tuple[str, Any]:
    """Compiles ``program`` as a kernel; returns its name and code library.

    Contraction to fused multiply-add is off: ``x * y + z`` must give what Python gives.
    """
    from numba.cuda import compiler, dispatcher

    oldest = SimpleNamespace(compute_capability=baseline())
    with mock.patch.object(dispatcher, "get_current_device", lambda: oldest):  # it asks for a GPU otherwise
        compiled = compiler.compile_cuda(
            program, types.void, signature.args, cc=baseline(), nvvm_options={"opt": 3, "fma": False}
        )
        library = compiled.library
        entry = library.get_function(compiled.fndesc.llvm_func_name)
        library._entry_name = entry.name  # noqa: SLF001  (numba-cuda has no public way to make PTX with its options)
        compiler.kernel_fixup(entry, False)
    return entry.name, library


def build_arrays(request: ArrayRequest, target: Target) -> tuple[str, bytes]:
    """Returns what :func:`build` returns, for an array function."""
    parameter_types = [
        types.CPointer(getattr(types, p.dtype)) if p.is_array else types.int64 for p in request.parameters
    ]
    signature = types.void(*parameter_types, types.int64, types.int64)
    jit = numba.njit(error_model="numpy", forceinline=True) if target == "cpu" else _cuda().jit(device=True)
    namespace: dict[str, Any] = {
        "function": with_compiled_callees(request.function, jit),
        "float_of_bits": float_of_bits,
        "offset_pointer": offset_pointer,
    }
    if target == "ptx":
        namespace["cuda"] = _cuda()
    exec(compile(array_text(request.parameters, target), "<gpuspark program>", "exec"), namespace)
    try:
        if target == "cpu":
            return object_file(namespace["program"], signature)
        entry, library = _linked(namespace["program"], signature)
        (ptx,) = library.get_asm_strs(cc=baseline())
        return entry, ptx.encode()
    except numba_errors.NumbaError as error:
        raise CannotCompile(_refusal(error)) from error


def baseline() -> tuple[int, int]:
    """Returns the compute capability that PTX is generated for: 7.0 with CUDA 12, 7.5 from CUDA 13 on."""
    from numba.cuda.cudadrv import nvrtc

    lowest = nvrtc.get_lowest_supported_cc()
    return max((7, 0), (lowest[0], lowest[1]))


def _refuse_mixed(namespace: dict[str, Any]) -> None:
    """Raises :class:`CannotCompile` if a name is an integer on one path and a float on another.

    Numba makes both floats. In Python each path keeps its own type, and so has other results beyond 2**53.
    """
    for name in [n for n in namespace if re.fullmatch(r"_gs_f\d+", n)]:
        for overload in namespace[name].overloads.values():
            annotation = overload.type_annotation
            for block in annotation.blocks.values():
                for statement in block.find_insts(ir.Assign):
                    _refuse_if_mixed(statement, annotation.typemap)


def _refuse_if_mixed(statement: Any, typemap: Any) -> None:
    """Raises :class:`CannotCompile` if an assignment in Numba's IR changes a whole number to a float."""
    value = statement.value
    source = value.value if isinstance(value, ir.Expr) and value.op == "cast" else value
    if not isinstance(source, ir.Var):
        return
    assigned, declared = typemap[source.name], typemap[statement.target.name]
    name = statement.target.name.split(".")[0]
    subject = "the result" if name.startswith("$") else repr(name)
    _refuse_if_unlike(assigned, declared.type if is_optional(declared) else declared, subject)


def _refuse_if_unlike(assigned: Any, declared: Any, subject: str) -> None:
    """Raises :class:`CannotCompile` if ``subject`` loses the type ``assigned`` in one that is ``declared``.

    A written-out integer may become a float: the rewriting has dealt with it (see ``origins``).
    """
    if isinstance(assigned, types.BaseTuple) and isinstance(declared, types.BaseTuple):
        for inner_assigned, inner_declared in zip(assigned, declared, strict=True):
            _refuse_if_unlike(inner_assigned, inner_declared, subject)
        return
    literal = isinstance(assigned, types.Literal)
    becomes_float = is_integer(assigned) and is_float(declared)
    if (becomes_float and not literal) or (is_boolean(assigned) and not is_boolean(declared)):
        whole = "a boolean" if is_boolean(assigned) else "an integer"
        raise CannotCompile(f"{subject} is {whole} on one path and {declared} on another")
    if literal and is_float(declared) and not is_boolean(assigned) and abs(assigned.literal_value) > 2**53:
        raise CannotCompile(
            f"{subject} is {assigned.literal_value} on one path and {declared} on another, which cannot hold it"
        )


def _refusal(error: BaseException) -> str:
    """Returns the reason in a message of Numba's: an operation's own if it has one, else the first informative line."""
    text = str(error)
    ours = re.search(f"{REASON_DELIMITER}(.*?){REASON_DELIMITER}", text)
    if ours:
        return ours.group(1)
    if "use of getiter with parameters (Tuple(" in text:
        return "a loop over a tuple whose items are of different types"
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Failed in", "During:", "There are", "-", ">>>"))]
    return f"Numba: {(telling or lines)[0]}"
