"""Translates a parsed module into steps that can be executed, one for each instruction.

A step that computes or accesses memory is a function of the :class:`~.threads.ActiveThreads` that execute it. A step
that changes the control flow is a small object (:class:`Branch`, :class:`Call` ...) that :mod:`.interpreter` executes.
The steps of all functions are in one list; a program counter is an index into it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gpuspark.devices.emulator import collective_operations
from gpuspark.devices.emulator.access import (
    check_alignment,
    load_parameter,
    load_values,
    store_parameter,
    store_values,
)
from gpuspark.devices.emulator.barriers import Synchronisation
from gpuspark.devices.emulator.faults import PtxError
from gpuspark.devices.emulator.instructions import operation
from gpuspark.devices.emulator.memory import AddressSpace, Buffer
from gpuspark.devices.emulator.operands import (
    Read,
    Values,
    Write,
    constant,
    discard,
    read_constant,
    read_register,
    write_register,
)
from gpuspark.devices.emulator.shared import SHARED_WINDOW, SharedLayout
from gpuspark.devices.emulator.syntax import (
    DTYPES,
    Address,
    Arguments,
    Function,
    Immediate,
    Instruction,
    Module,
    Operand,
    Register,
    Space,
    Special,
    Symbol,
    Variable,
    Vector,
)
from gpuspark.devices.emulator.threads import ActiveThreads

Compute = Callable[[ActiveThreads], None]


@dataclass(frozen=True)
class Branch:
    """``bra``: continues at the program counter ``target``."""

    target: int


@dataclass(frozen=True)
class IndexedBranch:
    """``brx.idx``: each thread's index chooses its target."""

    choice: Read
    targets: tuple[int, ...]


@dataclass(frozen=True)
class Call:
    """``call``: continues at ``start``. ``arguments`` and ``results`` pair the callee's variable with the caller's."""

    function: Function
    start: int
    arguments: tuple[tuple[str, str], ...]
    results: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Return:
    """``ret``: returns to the caller; in a kernel, the thread exits."""


@dataclass(frozen=True)
class Exit:
    """``exit``: the thread exits."""


@dataclass(frozen=True)
class Trap:
    """``trap``: the program aborts."""


ControlFlow = Branch | IndexedBranch | Call | Return | Exit | Trap | Synchronisation


@dataclass(frozen=True)
class Step:
    """One instruction: its action, and the guard predicate of the threads that execute it."""

    action: Compute | ControlFlow
    guard: Read | None
    instruction: Instruction


class Program:
    """A module that can be executed: its variables are in ``memory``, its instructions are ``steps``.

    Raises :class:`~.faults.PtxError` for an instruction that the emulator does not know.
    """

    def __init__(self, module: Module, memory: AddressSpace) -> None:
        self.module = module
        self.memory = memory
        self.buffers: dict[str, Buffer] = {}
        self.starts: dict[str, int] = {}
        """The program counter of each function's first step."""
        self.steps: list[Step] = []
        local = (variable for function in module.functions.values() for variable in function.variables.values())
        self.shared_layout = SharedLayout(v for v in (*module.variables.values(), *local) if v.space == "shared")
        self._place_variables()
        pc = 0
        for function in module.functions.values():
            self.starts[function.name] = pc
            pc += len(function.body) + 1
        for function in module.functions.values():
            self.steps += _FunctionTranslator(self, function).steps()

    def _place_variables(self) -> None:
        """Allocates the module's global and constant variables, and stores the addresses that they contain."""
        placed = [variable for variable in self.module.variables.values() if variable.space != "shared"]
        for variable in placed:
            self.buffers[variable.name] = self.memory.place_variable(
                variable.nbytes, variable.name, variable.initial, writable=variable.space != "const"
            )
        for variable in placed:
            for offset, symbol in variable.links:
                address = self.buffers[symbol.name].address + symbol.offset
                data = self.buffers[variable.name].data
                data[offset : offset + 8] = np.frombuffer(address.to_bytes(8, "little"), np.uint8)


_CONTROL_FLOW = ("bra", "brx", "call", "ret", "exit", "trap")
_NO_OPERATIONS = ("membar", "fence", "prefetch", "prefetchu", "brkpt", "nanosleep")
_SPACES = {"param", "local", "global", "const", "shared"}
_HINTS = {"nc", "ca", "cg", "cs", "lu", "cv", "wb", "wt", "volatile", "relaxed", "weak", "cta", "gpu", "sys"}
_MEMORY_MODIFIERS = frozenset(_SPACES | _HINTS | {"v2", "v4", "shared::cta"})
_SPECIAL_REGISTERS = {
    "%laneid",
    "%warpid",
    "%nwarpid",
    "%dynamic_smem_size",
    "%total_smem_size",
    *(f"%lanemask_{relation}" for relation in ("eq", "lt", "le", "gt", "ge")),
}


class _FunctionTranslator:
    """Translates the instructions of one function into steps."""

    def __init__(self, program: Program, function: Function) -> None:
        self.program = program
        self.function = function
        self.start = program.starts[function.name]
        self.memory = program.memory

    def steps(self) -> list[Step]:
        """Returns the steps of the function, and a return after the last one."""
        steps = [self.step(instruction) for instruction in self.function.body]
        end = Instruction(("ret",), (), None, self.function.line, "end of function")
        return [*steps, Step(Return(), None, end)]

    def step(self, instruction: Instruction) -> Step:
        """Translates one instruction. Raises :class:`~.faults.PtxError` where the emulator does not know it."""
        guard = self.reader(instruction.guard, DTYPES["pred"], instruction) if instruction.guard else None
        action: Compute | ControlFlow
        if instruction.name in _CONTROL_FLOW:
            action = self.control_flow(instruction)
        elif instruction.name in ("ld", "ldu"):
            action = self.load(instruction)
        elif instruction.name == "st":
            action = self.store(instruction)
        elif instruction.name in _NO_OPERATIONS:
            action = _do_nothing
        else:
            action = (
                collective_operations.synchronisation(self, instruction)
                or collective_operations.unsynchronised(self, instruction)
                or self.compute(instruction)
            )
        return Step(action, guard, instruction)

    def error(self, instruction: Instruction, problem: str) -> PtxError:
        return PtxError(instruction.line, instruction.text, problem)

    # ---- control flow

    def control_flow(self, instruction: Instruction) -> ControlFlow:
        """Translates a branch, a call or the end of a function."""
        name, operands = instruction.name, instruction.operands
        if name == "bra" and isinstance(operands[0], Symbol):
            return Branch(self.label(operands[0].name, instruction))
        if name == "brx" and isinstance(operands[1], Symbol):
            targets = self.function.tables[operands[1].name]
            choice = self.reader(_plain(operands[0]), DTYPES["u32"], instruction)
            return IndexedBranch(choice, tuple(self.label(t, instruction) for t in targets))
        if name == "call":
            return self.call(instruction)
        simple: dict[str, ControlFlow] = {"ret": Return(), "exit": Exit(), "trap": Trap()}
        if name not in simple:
            raise self.error(instruction, "the emulator does not know this form of a branch")
        return simple[name]

    def label(self, name: str, instruction: Instruction) -> int:
        """Returns the program counter of the label ``name``."""
        if name not in self.function.labels:
            raise self.error(instruction, f"there is no label {name}")
        return self.start + self.function.labels[name]

    def call(self, instruction: Instruction) -> Call:
        """Translates ``call (results), function, (arguments)``."""
        operands = list(instruction.operands)
        results = operands.pop(0) if isinstance(operands[0], Arguments) else Arguments(())
        name, *rest = operands
        arguments = rest.pop(0) if rest else Arguments(())
        callee = self.program.module.functions.get(name.name) if isinstance(name, Symbol) else None
        if callee is None or rest or isinstance(results, Operand) or isinstance(arguments, Operand):
            raise self.error(instruction, "the emulator calls functions of the same module only, by name")
        start = self.program.starts[callee.name]
        return Call(callee, start, _paired(callee.parameters, arguments), _paired(callee.results, results))

    # ---- computing

    def compute(self, instruction: Instruction) -> Compute:
        """Translates an instruction that computes results from its sources."""
        computation = operation(instruction)
        evaluate = computation.evaluate
        reads = [self.reader(operand, dtype, instruction) for operand, dtype in computation.sources]
        writes = [self.writer(operand, dtype, instruction) for operand, dtype in computation.results]
        if len(writes) > 1:

            def write_all(active: ActiveThreads) -> None:
                for write, values in zip(writes, evaluate(*[read(active) for read in reads]), strict=True):
                    write(active, values)

            return write_all
        write = writes[0]
        if len(reads) == 1:
            source = reads[0]
            return lambda active: write(active, evaluate(source(active)))
        if len(reads) == 2:
            first, second = reads
            return lambda active: write(active, evaluate(first(active), second(active)))
        return lambda active: write(active, evaluate(*[read(active) for read in reads]))

    def reader(self, operand: Operand | None, dtype: np.dtype, instruction: Instruction) -> Read:
        """Returns a function that reads the operand's values as ``dtype``."""
        if isinstance(operand, Register):
            return read_register(operand, dtype)
        if isinstance(operand, Immediate):
            return read_constant(constant(operand, dtype))
        if isinstance(operand, Special):
            return self.special_register(operand.name, dtype, instruction)
        if isinstance(operand, Symbol):
            return self.address_of(operand, dtype, instruction)
        raise self.error(instruction, f"the emulator does not know how to read {operand}")

    def special_register(self, name: str, dtype: np.dtype, instruction: Instruction) -> Read:
        """Returns a reader of a special register such as ``%tid.x``."""
        register, _, axis = name.partition(".")
        known = register in ("%tid", "%ntid", "%ctaid", "%nctaid") and axis in ("x", "y", "z")
        if not known and name not in _SPECIAL_REGISTERS:
            raise self.error(instruction, f"the emulator does not know the register {name}")

        def read(active: ActiveThreads) -> Values:
            values = active.blocks.special_register(name)
            selected = values if active.index is None or len(values) == 1 else values[active.index]
            return selected.astype(dtype)

        return read

    def address_of(self, symbol: Symbol, dtype: np.dtype, instruction: Instruction) -> Read:
        """Returns a reader of the address of a variable."""
        shared_offsets = self.program.shared_layout.offsets
        if symbol.name in shared_offsets:
            address = SHARED_WINDOW + shared_offsets[symbol.name] + symbol.offset
            return read_constant(np.array([address], np.uint64).astype(dtype))
        variable = self.function.variables.get(symbol.name)
        if variable is not None and variable.space == "local":
            name, offset = symbol.name, symbol.offset
            return lambda active: np.array([active.frame.locals[name] + offset], np.uint64)
        buffer = self.program.buffers.get(symbol.name)
        if buffer is None:
            raise self.error(instruction, f"nothing has an address that is named {symbol.name}")
        return read_constant(np.array([buffer.address + symbol.offset], np.uint64))

    def writer(self, operand: Operand | None, dtype: np.dtype, instruction: Instruction) -> Write:
        """Returns a function that writes values of ``dtype`` to the operand."""
        if operand is None:
            return discard
        if not isinstance(operand, Register):
            raise self.error(instruction, f"a result must go to a register, not to {operand}")
        return write_register(operand, dtype)

    # ---- memory

    def load(self, instruction: Instruction) -> Compute:
        """Translates ``ld``, of one value or a vector."""
        dtype = self.access_type(instruction)
        target, address = instruction.operands
        if not isinstance(address, Address) or isinstance(target, Arguments):
            raise self.error(instruction, "expected an address")
        items = target.items if isinstance(target, Vector) else (target,)
        writes = [self.writer(item, dtype, instruction) for item in items]
        if "param" in instruction.modifiers:
            name, offset = self.parameter(address, instruction)
            return lambda active: load_parameter(active, name, offset, dtype, writes)
        read_address = self.address(address, instruction)
        memory, space = self.memory, self.space(instruction)

        def load(active: ActiveThreads) -> None:
            addresses = read_address(active)
            check_alignment(addresses, dtype.itemsize * len(writes))
            for number, write in enumerate(writes):
                element = addresses + np.uint64(number * dtype.itemsize)
                write(active, load_values(memory, active, space, element, dtype))

        return load

    def store(self, instruction: Instruction) -> Compute:
        """Translates ``st``, of one value or a vector."""
        dtype = self.access_type(instruction)
        address, source = instruction.operands
        if not isinstance(address, Address) or isinstance(source, Arguments):
            raise self.error(instruction, "expected an address")
        items = source.items if isinstance(source, Vector) else (source,)
        reads = [self.reader(item, dtype, instruction) for item in items]
        if "param" in instruction.modifiers:
            name, offset = self.parameter(address, instruction)
            return lambda active: store_parameter(active, name, offset, dtype, reads)
        read_address = self.address(address, instruction)
        memory, space = self.memory, self.space(instruction)

        def store(active: ActiveThreads) -> None:
            addresses = read_address(active)
            check_alignment(addresses, dtype.itemsize * len(reads))
            for number, read in enumerate(reads):
                element = addresses + np.uint64(number * dtype.itemsize)
                store_values(memory, active, space, element, read(active))

        return store

    def access_type(self, instruction: Instruction) -> np.dtype:
        """Returns the type of a load or store, after checking its modifiers."""
        *modifiers, type_name = instruction.modifiers
        for modifier in modifiers:
            if modifier not in _MEMORY_MODIFIERS:
                raise self.error(instruction, f"the emulator does not know .{modifier} here")
        if type_name not in DTYPES:
            raise self.error(instruction, f"the emulator does not know the type .{type_name}")
        return DTYPES[type_name]

    def parameter(self, address: Address, instruction: Instruction) -> tuple[str, int]:
        """Returns the name of a parameter and the offset in it that ``address`` refers to."""
        if not isinstance(address.base, Symbol) or address.base.name not in self.function.variables:
            raise self.error(instruction, "parameters are reached by their names only")
        return address.base.name, address.base.offset + address.offset

    def address(self, address: Address, instruction: Instruction) -> Read:
        """Returns a reader of ``address``."""
        base = self.reader(address.base, DTYPES["u64"], instruction)
        if address.offset == 0:
            return base
        offset = np.array([address.offset % 2**64], np.uint64)
        return lambda active: base(active) + offset

    def space(self, instruction: Instruction) -> Space:
        """Returns the state space of an access: generic, unless the instruction names one."""
        words = {word.removesuffix("::cta") for word in instruction.modifiers}
        if "shared" in words:
            return "shared"
        if "local" in words:
            return "local"
        return "global" if _SPACES & words else "generic"


def _do_nothing(_active: ActiveThreads) -> None:
    """Executes a fence or a hint: threads see memory in program order already."""


def _plain(operand: Operand | Arguments) -> Operand | None:
    """Returns ``operand``, or ``None`` for a list of arguments."""
    return None if isinstance(operand, Arguments) else operand


def _paired(inner: list[Variable], outer: Arguments) -> tuple[tuple[str, str], ...]:
    """Returns the names of the callee's variables, each with that of the caller's."""
    names = [operand.name for operand in outer.items if isinstance(operand, Symbol)]
    return tuple(zip((variable.name for variable in inner), names, strict=True))
