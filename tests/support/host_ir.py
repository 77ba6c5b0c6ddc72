"""Runs the LLVM code of CUDA programs on this machine's processor: no PTX, no emulator.

Numba's LLVM code for a CUDA program is the input of NVIDIA's compiler. Here LLVM compiles the same code for the host,
with NVIDIA's own mathematics library (libdevice) linked in, and runs millions of rows per second. Only what the
machine provides is replaced: the registers that hold the thread's indices, and the intrinsics below. So this shows
that code generation for PTX and the emulator agree with a compiler that knows neither.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pyarrow as pa
from llvmlite import binding

from gpuspark.accounting.work import Work
from gpuspark.columns.types import ColumnType
from gpuspark.compiler import Request
from gpuspark.compiler import build as compiler
from gpuspark.config import Config
from gpuspark.devices.cpu import CpuDevice
from gpuspark.devices.protocol import Device, Pointer, Program, Target
from gpuspark.errors import GpusparkError
from gpuspark.execution.rowwise import RowwiseProgram
from gpuspark.execution.scalar import ScalarFunction

_BINARY = {
    "mul.rn.d": "fmul",
    "add.rn.d": "fadd",
    "div.rn.d": "fdiv",
    "sub.rn.d": "fsub",
}
_UNARY = {
    "fabs.f64": "fabs",
    "floor.d": "floor",
    "ceil.d": "ceil",
    "trunc.d": "trunc",
    "sqrt.rn.d": "sqrt",
    "round.d": "roundeven",
}


def _intrinsics() -> dict[str, str]:
    """Returns the NVVM intrinsics as LLVM code: by name, a function's result, parameters and body."""
    intrinsics = {
        name: f"double (double %a, double %b) %r = {op} double %a, %b\n ret double %r" for name, op in _BINARY.items()
    }
    for name, op in _UNARY.items():
        intrinsics[name] = f"double (double %a) %r = call double @llvm.{op}.f64(double %a)\n ret double %r"
    for name, op in (("fmin.d", "minnum"), ("fmax.d", "maxnum")):
        intrinsics[name] = (
            f"double (double %a, double %b) %r = call double @llvm.{op}.f64(double %a, double %b)\n ret double %r"
        )
    for name in ("fabs.f32", "fabs.ftz.f32"):  # libdevice calls it with normal numbers only
        intrinsics[name] = "float (float %a) %r = call float @llvm.fabs.f32(float %a)\n ret float %r"
    for name in ("f2i.rn", "f2i.rn.ftz"):  # 0 for what is not a normal number, in both forms
        intrinsics[name] = (
            "i32 (float %a) %n = call float @llvm.roundeven.f32(float %a)\n"
            " %r = call i32 @llvm.fptosi.sat.i32.f32(float %n)\n ret i32 %r"
        )
    return intrinsics | {
        "fma.rn.d": "double (double %a, double %b, double %c) "
        "%r = call double @llvm.fma.f64(double %a, double %b, double %c)\n ret double %r",
        "d2i.hi": "i32 (double %a) %i = bitcast double %a to i64\n %s = lshr i64 %i, 32\n"
        " %r = trunc i64 %s to i32\n ret i32 %r",
        "d2i.lo": "i32 (double %a) %i = bitcast double %a to i64\n %r = trunc i64 %i to i32\n ret i32 %r",
        "lohi.i2d": "double (i32 %l, i32 %h) %a = zext i32 %l to i64\n %b = zext i32 %h to i64\n"
        " %c = shl i64 %b, 32\n %d = or i64 %a, %c\n %r = bitcast i64 %d to double\n ret double %r",
        "d2i.rn": "i32 (double %a) %n = call double @llvm.roundeven.f64(double %a)\n"
        " %r = call i32 @llvm.fptosi.sat.i32.f64(double %n)\n ret i32 %r",
        "d2ll.rn": "i64 (double %a) %n = call double @llvm.roundeven.f64(double %a)\n"
        " %r = call i64 @llvm.fptosi.sat.i64.f64(double %n)\n ret i64 %r",
        "round.f": "float (float %a) %r = call float @llvm.roundeven.f32(float %a)\n ret float %r",
        "lg2.approx.ftz.f": "float (float %a) %d = fpext float %a to double\n"
        " %e = call double @llvm.log2.f64(double %d)\n %r = fptrunc double %e to float\n ret float %r",
        "ex2.approx.ftz.f32": "float (float %a) %d = fpext float %a to double\n"
        " %e = call double @llvm.exp2.f64(double %d)\n %r = fptrunc double %e to float\n ret float %r",
        # PTX ISA: reads and writes the upper half of a double; rounded to nearest, as in the emulator.
        "rcp.approx.ftz.d": "double (double %a) %i = bitcast double %a to i64\n %u = and i64 %i, -4294967296\n"
        " %x = bitcast i64 %u to double\n %e = fdiv double 1.0, %x\n %j = bitcast double %e to i64\n"
        " %k = add i64 %j, 2147483648\n %m = and i64 %k, -4294967296\n %n = bitcast i64 %m to double\n"
        " %s = call double @llvm.fabs.f64(double %e)\n %f = fcmp one double %s, 0x7FF0000000000000\n"
        " %r = select i1 %f, double %n, double %e\n ret double %r",
    }


_ASSEMBLY = {
    "rsqrt.approx.ftz.f64": "rsqrt",
    "mad.lo.cc.u32   r0, alo, blo, clo": "mad",
    "mul.lo.u32      r0, alo, blo": "mul",
    "add.cc.u32      r0, a0, b0": "add",
    "sub.cc.u32      r0, a0, b0": "sub",
    "setp.equ.f64": "choose",
}
"""The inline PTX in libdevice, recognised by a part of it: a reciprocal root, sums and products of 128 bits, and (CUDA
13) a choice between two numbers by whether two others are equal or one is NaN."""
_HALVES = """ %low = trunc i128 %r to i64
 %shifted = lshr i128 %r, 64
 %high = trunc i128 %shifted to i64
 %one = insertvalue { i64, i64 } undef, i64 %low, 0
 %both = insertvalue { i64, i64 } %one, i64 %high, 1
 ret { i64, i64 } %both
}"""


def _wide(name: str) -> str:
    """Returns LLVM code that joins two 64-bit halves to a 128-bit integer."""
    return (
        f" %{name}l = zext i64 %{name}0 to i128\n %{name}h = zext i64 %{name}1 to i128\n"
        f" %{name}s = shl i128 %{name}h, 64\n %{name} = or i128 %{name}s, %{name}l\n"
    )


_ASSEMBLED = f"""
define {{ i64, i64 }} @host.asm.mad(i64 %x, i64 %y, i64 %z) alwaysinline {{
 %a = zext i64 %x to i128
 %b = zext i64 %y to i128
 %c = zext i64 %z to i128
 %p = mul i128 %a, %b
 %r = add i128 %p, %c
{_HALVES}
define {{ i64, i64 }} @host.asm.mul(i64 %x, i64 %y) alwaysinline {{
 %a = zext i64 %x to i128
 %b = zext i64 %y to i128
 %r = mul i128 %a, %b
{_HALVES}
define {{ i64, i64 }} @host.asm.add(i64 %a0, i64 %a1, i64 %b0, i64 %b1) alwaysinline {{
{_wide("a")}{_wide("b")} %r = add i128 %a, %b
{_HALVES}
define {{ i64, i64 }} @host.asm.sub(i64 %a0, i64 %a1, i64 %b0, i64 %b1) alwaysinline {{
{_wide("a")}{_wide("b")} %r = sub i128 %a, %b
{_HALVES}
define double @host.asm.choose(double %a, double %b, double %c, double %d) alwaysinline {{
 %e = fcmp ueq double %a, %b
 %r = select i1 %e, double %c, double %d
 ret double %r
}}
define double @host.asm.rsqrt(double %a) alwaysinline {{
 %i = bitcast double %a to i64
 %u = and i64 %i, -4294967296
 %x = bitcast i64 %u to double
 %q = call double @llvm.sqrt.f64(double %x)
 %e = fdiv double 1.0, %q
 %j = bitcast double %e to i64
 %k = add i64 %j, 2147483648
 %m = and i64 %k, -4294967296
 %n = bitcast i64 %m to double
 %s = call double @llvm.fabs.f64(double %e)
 %f = fcmp one double %s, 0x7FF0000000000000
 %r = select i1 %f, double %n, double %e
 ret double %r
}}"""


def _without_assembly(text: str) -> str:
    """Returns ``text`` with calls of our functions in place of inline PTX."""

    def replacement(call: re.Match[str]) -> str:
        names = [name for part, name in _ASSEMBLY.items() if part in call[2]]
        assert len(names) == 1, call[2]
        return f"call {call[1]} @host.asm.{names[0]}("

    return re.sub(r'call ([^\n"]*?) asm (?:sideeffect )?"([^"]*)", "[^"]*"\(', replacement, text)


_REGISTERS = ("tid", "ntid", "ctaid", "nctaid")


class HostProgram:
    """A program of the scalar dialect, compiled for CUDA and run on the host, thread by thread."""

    def __init__(self, request: Request) -> None:
        text = compiler.program_text(request.columns, "ptx", nullable=request.nullable)
        parameters = list(compiler._parameters(request.columns, request.result, nullable=request.nullable))
        signature = compiler.types.void(*parameters)
        entry, library = compiler.cuda_library(request.body, text, signature, request.checked)
        llvm_types = ["i64" if str(parameter) == "int64" else "ptr" for parameter in parameters]
        module = binding.parse_assembly(_host(library.llvm_strs[0]))
        for more in library.llvm_strs[1:]:
            module.link_in(binding.parse_assembly(_host(more)))
        needed = {f.name for f in module.functions if f.is_declaration and f.name.startswith("__nv_")}
        module.link_in(binding.parse_assembly(_libdevice(frozenset(needed))))
        module.link_in(binding.parse_assembly(_driver(entry, llvm_types)))
        for function in module.functions:
            if not function.is_declaration and function.name != "run":
                function.linkage = "internal"
        module.verify()
        self._run = _compiled(module, llvm_types)

    def __call__(self, words: Sequence[int], grid: int, block: int) -> None:
        """Runs the threads of ``grid`` blocks one after the other. ``words``: the program's addresses and numbers."""
        self._run(grid, block, *words)


def _compiled(module: Any, llvm_types: list[str]) -> Any:
    """Returns the function ``run`` of ``module``, compiled and callable."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine(
        opt=3, cpu=binding.get_host_cpu_name(), features=binding.get_host_cpu_features().flatten()
    )
    builder = binding.create_pass_builder(machine, binding.create_pipeline_tuning_options(speed_level=3))
    builder.getModulePassManager().run(module, builder)
    engine = binding.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    prototype = ctypes.CFUNCTYPE(None, ctypes.c_int32, ctypes.c_int32, *[ctypes.c_int64] * len(llvm_types))
    function: Any = prototype(engine.get_function_address("run"))
    function.engine = engine
    return function


def _driver(entry: str, llvm_types: list[str]) -> str:
    """Returns LLVM code of a function ``run(grid, block, words ...)``, which runs every thread of the grid."""
    named = ", ".join(f"{llvm_type} %a{n}" for n, llvm_type in enumerate(llvm_types))
    registers = "\n".join(
        f"@reg_{name} = internal global i32 0\n"
        f"define i32 @sreg_{name}() alwaysinline {{\n %v = load i32, ptr @reg_{name}\n ret i32 %v\n}}"
        for name in _REGISTERS
    )
    return f"""{registers}
declare void @"{entry}"({", ".join(llvm_types)})
define void @run(i32 %grid, i32 %block, {named}) {{
start:
 store i32 %grid, ptr @reg_nctaid
 store i32 %block, ptr @reg_ntid
 br label %blocks
blocks:
 %b = phi i32 [0, %start], [%next_b, %after]
 store i32 %b, ptr @reg_ctaid
 br label %threads
threads:
 %t = phi i32 [0, %blocks], [%next_t, %threads]
 store i32 %t, ptr @reg_tid
 call void @"{entry}"({named})
 %next_t = add i32 %t, 1
 %more_t = icmp slt i32 %next_t, %block
 br i1 %more_t, label %threads, label %after
after:
 %next_b = add i32 %b, 1
 %more_b = icmp slt i32 %next_b, %grid
 br i1 %more_b, label %blocks, label %end
end:
 ret void
}}
"""


def _host(text: str) -> str:
    """Returns LLVM code for CUDA changed to code for the host, with the untyped pointers of this LLVM."""
    text = re.sub(r"target (triple|datalayout) = .*", "", text)
    text = re.sub(r"!nvvm\.annotations = .*", "", text)  # they would give the entry point a GPU's calling convention
    text = re.sub(r'@"?llvm\.nvvm\.read\.ptx\.sreg\.(\w+)\.x"?', r"@sreg_\1", text)
    return "\n".join(line if line.startswith("!") else _untyped(line) for line in text.splitlines())


def _untyped(line: str) -> str:
    """Returns a line of LLVM code with ``ptr`` for every typed pointer."""
    plain = r"\b(?:i\d+|double|float|half|void|ptr)"
    whole = r"(?:\{[^{}]*\}|\[\d+ x [^\[\]]*\])"
    before = None
    while before != line:
        before = line
        line = re.sub(rf"(?:{plain}|{whole})(\s+addrspace\(\d+\))?\s*\*", r"ptr\1", line)
        line = re.sub(rf"{plain} \([^()]*\)\s*\*", "ptr", line)
    line = re.sub(r" addrspace\(\d+\)", "", line)  # there is one memory here
    return line.replace("addrspacecast ptr", "bitcast ptr")


@cache
def _library_text() -> str:
    """Returns the text of libdevice, of whichever tool kit numba-cuda finds, with its intrinsics renamed to ours."""
    from numba.cuda.cudadrv.libs import open_libdevice

    text = str(binding.parse_bitcode(open_libdevice()))
    text = re.sub(r"target (triple|datalayout) = .*", "", text)
    return re.sub(r"@(llvm\.nvvm\.[\w.]+)", r"@host.\1", text)


@cache
def _libdevice(needed: frozenset[str]) -> str:
    """Returns the text of these functions of libdevice with everything that they use."""
    text = _library_text()
    defined = {m[1]: m[0] for m in re.finditer(r"(?ms)^define [^@\n]*@([\w.]+)\(.*?^\}", text)}
    kept: dict[str, str] = {}
    todo = list(needed)
    while todo:
        name = todo.pop()
        if name not in kept:
            kept[name] = defined[name]
            todo += [called for called in re.findall(r"@([\w.]+)\(", defined[name]) if called in defined]
    body = re.sub(r" #\d+", "", "\n".join(kept.values()))
    tables = [line for line in text.splitlines() if re.match(r"@[\w.]+ = .*(constant|global)|%[\w.]+ = type", line)]
    lines = [re.sub(r" addrspace\(\d+\)", "", line) for line in tables]
    own = _intrinsics()
    for name in sorted(set(re.findall(r"@host\.llvm\.nvvm\.([\w.]+)\(", body))):
        result, parameters, code = re.fullmatch(r"(\w+) (\([^)]*\)) (.*)", own[name], re.DOTALL).groups()  # type: ignore[union-attr]
        lines.append(f"define {result} @host.llvm.nvvm.{name}{parameters} alwaysinline {{\n {code}\n}}")
    lines.append("define i32 @__nvvm_reflect(ptr %a) alwaysinline {\n ret i32 0\n}")
    body = re.sub(r", ![\w.]+ !\d+", "", _without_assembly(body))
    whole = "\n".join([*lines, _ASSEMBLED, re.sub(r" addrspace\(\d+\)", "", body)])
    return whole + "\n" + "\n".join(_declared(whole))


def _declared(text: str) -> list[str]:
    """Returns declarations of the LLVM intrinsics that ``text`` calls."""
    declarations = {}
    for result, name, arguments in re.findall(
        r"call (?:fast |contract |nsz )*([\w<> ]+?) @(llvm\.[\w.]+)\(([^)]*)\)", text
    ):
        llvm_types = [
            " ".join(word for word in argument.split()[:1]) for argument in arguments.split(",") if argument.strip()
        ]
        declarations[name] = f"declare {result.split()[-1]} @{name}({', '.join(llvm_types)})"
    return list(declarations.values())


class HostDevice(CpuDevice):
    """A device that runs a :class:`HostProgram`: a program for CUDA, in host memory, at the processor's speed."""

    target: Target = "ptx"

    def __init__(self, program: HostProgram, block: int = 256) -> None:
        super().__init__()
        self.program, self.block = program, block

    def launch(self, program: Program, arguments: Sequence[Pointer | int], count: int) -> None:
        words = [_address(word) if isinstance(word, Pointer) else word for word in arguments]
        self.program([*words, count], -(-count // self.block), self.block)


def _address(pointer: Pointer) -> int:
    array: Any = pointer.handle
    return int(array.__array_interface__["data"][0])


def on_host(function: ScalarFunction, types: Sequence[ColumnType], block: int = 256) -> HostDevice:
    """Returns a device that runs ``function`` for columns of these types."""
    return HostDevice(HostProgram(function.request(types, CONFIG)), block)


def results(
    function: ScalarFunction, types: Sequence[ColumnType], columns: Sequence[pa.Array], device: Device
) -> Result:
    """Returns the column or the error that ``device`` gives. Python computes the rows that the program marks."""
    program = function.program(types, CONFIG, "cpu" if device.target == "cpu" else "cuda")
    work = Work()
    try:
        column = RowwiseProgram(function, tuple(types), program, device).run(columns, 0, work)
    except Exception as error:
        if isinstance(error, GpusparkError) and not isinstance(error, ValueError):
            raise
        return Result(None, f"{type(error).__name__}: {error}", work.reasons)
    return Result(column, "", work.reasons)


@dataclass(frozen=True)
class Result:
    """The outcome of one run: a column, or an error with an empty column; and the reasons for fallbacks."""

    column: pa.Array | None
    error: str
    reasons: list[str]


CONFIG = Config(device="cuda", fallback="raise")
