"""``python -m tests.mlir_compiler``: does numba-cuda-mlir, the successor of numba-cuda, compile our programs?

It brings a Numba of its own, and its code generation knows nothing of LLVM. So each program is compiled twice, in
processes that are given that Numba in place of the usual one (:func:`take_its_numba`): with our operations as they
are, and with those that are made of LLVM's instructions made of MLIR's (:func:`ported`). What compiles is assembled
by nvJitLink, and run by the emulator beside plain Python. The result is a section of ``docs/machine-code.md``;
``--check`` compares instead of writing. `make toolchains` has the environment for it.

This is a trial, not a device's compiler: gpuspark itself uses numba-cuda.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import os
import re
import subprocess
import sys
import types as python_types
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

LEAST = (8, 0)
"""The compute capability that it writes PTX for. It asks a GPU for its own, even where it is told another."""
ARCHITECTURES = ("80", "90", "120")
ROWS = 100
TOOLS = ("numba-cuda-mlir", "cuda-bindings", "nvidia-nvjitlink")
SECTION = "numba-cuda-mlir"
ROOT = Path(__file__).parents[1]
EQUAL = "equal"
EXAMPLE = '''
from numba_cuda_mlir import cuda, extending
from numba_cuda_mlir.types import int64, void

@extending.intrinsic
def wrapping_add(context, a, b):
    def code(context, builder, signature, arguments):
        return builder.add(*arguments)

    return int64(int64, int64), code

def program(a, out):
    out[0] = wrapping_add(a, a)

cuda.compile_ptx(program, void(int64, int64[:]), cc=(8, 0))
'''


def take_its_numba() -> Any:
    """From now on ``import numba`` gives this process what numba-cuda-mlir has of it. Gives its ``types``."""
    from numba_cuda_mlir.numba_cuda import cgutils, types
    from numba_cuda_mlir.numba_cuda.core import errors, ir

    def module(name: str, **contents: Any) -> python_types.ModuleType:
        made = python_types.ModuleType(name)
        made.__dict__.update(contents, __path__=[])
        return made

    # Nothing is compiled for the CPU here, so what is registered with the CPU's compiler goes nowhere.
    extending = module("numba.extending", overload=lambda *_, **__: lambda f: f, intrinsic=lambda f: f)
    core = module("numba.core", errors=errors, ir=ir, cgutils=cgutils)
    numba = module("numba", types=types, extending=extending, core=core)
    for one in (numba, extending, core):
        sys.modules[one.__name__] = one
    sys.modules.update({"numba.types": types, "numba.core.errors": errors})
    return types


def register(intrinsic: Callable[[Any], Any]) -> None:
    """Registers our operations with numba-cuda-mlir, those of LLVM's instructions through ``intrinsic``."""
    from numba_cuda_mlir import extending
    from numba_cuda_mlir.cuda import libdevice

    from gpuspark.compiler.operations import mathematics, moments, numbers, registry, values  # noqa: F401

    overload = functools.partial(extending.overload, typing_registry=extending.typing_registry)
    compiler = python_types.SimpleNamespace(overload=overload, intrinsic=intrinsic)
    while registry._FOR_CUDA:
        registry._FOR_CUDA.pop()(compiler, libdevice)


def ported(typed: Callable[..., Any]) -> Any:
    """The intrinsic that ``typed`` describes, in MLIR: what gpuspark would have to write for this compiler."""
    from numba_cuda_mlir import extending
    from numba_cuda_mlir.mlir.dialect_exts import arith, llvm

    from gpuspark.compiler.operations import registry

    def present(builder: Any, target: Any, arguments: Any, _: Any) -> None:
        inner = builder.get_mlir_type(builder.get_numba_type(arguments[0].name).type)
        builder.store_var(target, llvm.extractvalue(inner, builder.load_var(arguments[0]), [0]))

    def same_bits(builder: Any, target: Any, arguments: Any, _: Any) -> None:
        builder.store_var(target, builder.load_var(arguments[0]))

    def wrapping(builder: Any, target: Any, arguments: Any, _: Any) -> None:
        operation = getattr(arith, f"{_free(typed, 'name')}i")
        builder.store_var(target, operation(*map(builder.load_var, arguments)))

    if typed is registry._present:
        code = present
    elif typed.__qualname__.startswith("_wrapping."):
        code = wrapping
    else:
        code = same_bits

    def retyped(*arguments: Any) -> Any:
        return typed(*arguments)[0], code

    retyped.__signature__ = inspect.signature(typed)  # type: ignore[attr-defined]
    return extending.intrinsic(retyped)


def _free(function: Callable[..., Any], name: str) -> Any:
    """What ``function`` captured under ``name``."""
    cells = function.__closure__ or ()
    return dict(zip(function.__code__.co_freevars, cells, strict=True))[name].cell_contents


def compiled(body: Any, text: str, signature: Any, checked: bool) -> tuple[str, bytes]:
    """The entry's name and the PTX: what stands for ``gpuspark.compiler.build._ptx`` here."""
    from numba_cuda_mlir import cuda, tools
    from numba_cuda_mlir.compiler import compile_ptx

    from gpuspark.compiler.build import _namespace

    scope = {**_namespace(body, text, checked, cuda.jit(device=True)), "cuda": cuda}
    exec(compile(text, "<gpuspark program>", "exec"), scope)
    with mock.patch.object(tools, "get_gpu_compute_capability", return_value=LEAST):
        ptx, _ = compile_ptx(scope["program"], signature, cc=LEAST)
    (entry,) = re.findall(r"\.entry\s+(\w+)", ptx)
    return entry, ptx.encode()


def compiled_with_its_own_slot(body: Any, text: str, signature: Any, checked: bool) -> tuple[str, bytes]:
    """There a function cannot give its caller memory of its own: the status byte stands in the program itself."""
    return compiled(body, text.replace("byte = slot()", "byte = cuda.local.array(1, np.uint8)"), signature, checked)


def tried(way: str) -> dict[str, list[str]]:
    """In a process of its own: what became of each program, by its name."""
    take_its_numba()
    from numba_cuda_mlir import extending

    from gpuspark import compiler
    from gpuspark.compiler import build
    from gpuspark.disk_cache import DiskCache

    if way == "as it is":
        register(extending.intrinsic)
        build._ptx = compiled
    else:
        register(ported)
        build._ptx = compiled_with_its_own_slot
    compiler.default_cache = lambda: DiskCache(None)  # whose keys know nothing of this compiler
    from tests.machine_code import programs

    return {name: outcome(function, types) for name, function, types in programs()}


def outcome(function: Any, names: tuple[str, ...]) -> list[str]:
    """The table's cells for one program: its columns' types, its registers by architecture, what is spilled, and how
    its answers compare with Python's; or why it does not compile."""
    from numba_cuda_mlir.errors import InternalCompilerError

    from gpuspark.compiler import CannotCompile
    from gpuspark.config import Config
    from gpuspark.devices import nvjitlink
    from gpuspark.types import parse

    try:
        ptx = function.program([parse(name) for name in names], Config(device="cuda"), "cuda").code
    except (CannotCompile, NotImplementedError, AttributeError, LookupError, TypeError, InternalCompilerError) as error:
        return [", ".join(names), *("-" for _ in ARCHITECTURES), "-", f"does not compile: {_reason(error)}"]
    taken = [nvjitlink.resources(ptx, arch) for arch in ARCHITECTURES]
    registers = [str(one.registers) for one in taken]
    return [", ".join(names), *registers, str(max(one.spilled for one in taken)), _compared(function, names)]


def _reason(error: BaseException) -> str:
    """The innermost cause's first line: the outer ones only ask for a report."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"


def _compared(function: Any, names: tuple[str, ...]) -> str:
    """``equal`` where the emulator makes of the PTX what plain Python gives, else the first difference."""
    from gpuspark.devices.emulated import EmulatedDevice
    from gpuspark.rowwise import interpret
    from gpuspark.types import parse
    from gpuspark.values import same, to_python
    from gpuspark.verify import tolerance
    from tests.host_ir import results
    from tests.test_host_ir import columns

    given = columns(names, ROWS, seed=1)
    found = results(function, [parse(name) for name in names], given, EmulatedDevice(1 << 24))
    try:
        expected = to_python(interpret(function, given, range(ROWS)))
    except (ArithmeticError, ValueError, TypeError, LookupError, AssertionError, NameError) as error:  # the body's own
        return EQUAL if found.error.startswith(type(error).__name__) else f"{error!r} is not {found.error!r}"
    if found.column is None:
        return f"unlike Python: {found.error}"
    ulp = tolerance(function)
    for row, (one, other) in enumerate(zip(to_python(found.column), expected, strict=True)):
        close = ulp and isinstance(one, float) and math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
        if not (close or same(one, other, ulp)):
            return f"row {row}: {one!r}, in Python {other!r}"
    return EQUAL


def minimal() -> str:
    """In a process of its own: what becomes of :data:`EXAMPLE`."""
    from numba_cuda_mlir import tools
    from numba_cuda_mlir.errors import InternalCompilerError

    scope: dict[str, Any] = {}
    try:
        with mock.patch.object(tools, "get_gpu_compute_capability", return_value=LEAST):
            exec(EXAMPLE, scope)
    except (AttributeError, NotImplementedError, InternalCompilerError) as error:
        return _reason(error)
    return "it compiles"


def made_with() -> str:
    return ", ".join(f"{name} {version(name)}" for name in TOOLS)


def section(as_it_is: dict[str, list[str]], ported: dict[str, list[str]], example: str) -> str:
    reasons = Counter(cells[-1] for cells in as_it_is.values())
    equal = sum(cells[-1] == EQUAL for cells in ported.values())
    refused = sum(cells[-1].startswith("does not compile") for cells in ported.values())
    heads = " | ".join(f"sm_{arch}" for arch in ARCHITECTURES)
    told = "\n".join(f"- {count} programs: {reason}" for reason, count in reasons.items())
    rows = "\n".join(f"| {' | '.join([name, *cells])} |" for name, cells in ported.items())
    return f"""
Made with: {made_with()}

numba-cuda-mlir brings a Numba of its own and makes code by MLIR. What it makes of our operations as they are:

{told}

Some of our operations are made of LLVM's instructions, which it has no use for. In its own words, of this program:

```
{EXAMPLE.strip()}
```

```
{example}
```

With these made of MLIR's instructions (`tests/mlir_compiler.py`), of {len(ported)} programs {equal} give Python's
answers on the emulator for {ROWS} rows, {len(ported) - equal - refused} give others, and {refused} do not compile. So
gpuspark stays with numba-cuda, and this table says what stands between. Numbers that differ in the last place come
of a product and a sum made one instruction, which its `compile_ptx` has no option against; a NaN is not true there;
and it has no cast between the two forms in which it keeps a value that may be `None`.

| program | columns | {heads} | spilled | beside plain Python |
|---|---|{"---|" * len(ARCHITECTURES)}---|---|
{rows}

"""


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--try"]:
        print(json.dumps(minimal() if arguments[1] == "minimal" else tried(arguments[1])))
        return 0
    found = []
    for way in ("as it is", "ported", "minimal"):
        command = [sys.executable, "-m", "tests.mlir_compiler", "--try", way]
        whole = {"NUMBA_CUDA_MLIR_ICE_FULL_TB": "1"}  # its own words, and no files in the temporary folder
        done = subprocess.run(command, cwd=ROOT, env=os.environ | whole, stdout=subprocess.PIPE, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    from tests.machine_code import committed, write

    said = section(*found)
    if arguments != ["--check"]:
        write(SECTION, said)
        return 0
    if f"Made with: {made_with()}\n" not in committed(SECTION):
        print(f"docs/machine-code.md was made with other versions than {made_with()}: not compared.")
        return 0
    if committed(SECTION) != said:
        print(said, "\ndocs/machine-code.md says otherwise: python -m tests.mlir_compiler writes it anew.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
