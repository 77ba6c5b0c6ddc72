"""Makes a parsed module runnable: each instruction becomes a step.

A step that computes or touches memory is a function of the :class:`~.lanes.Team` that takes it. A step
that decides where lanes go next is a small object (:class:`Branch`, :class:`Call` ...) that
:mod:`.interpreter` acts on. Steps of all functions stand in one list; a place is an index into it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gpuspark.devices.emulator import cooperation
from gpuspark.devices.emulator.access import (
    check_alignment,
    load_parameter,
    load_values,
    store_parameter,
    store_values,
)
from gpuspark.devices.emulator.faults import PtxError
from gpuspark.devices.emulator.instructions import operation
from gpuspark.devices.emulator.lanes import Team
from gpuspark.devices.emulator.meetings import Meeting
from gpuspark.devices.emulator.memory import AddressSpace, Buffer
from gpuspark.devices.emulator.operands import (
    Read,
    Values,
    Write,
    always,
    constant,
    discard,
    read_register,
    write_register,
)
from gpuspark.devices.emulator.shared import SHARED_WINDOW, Layout
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

Compute = Callable[[Team], None]


@dataclass(frozen=True)
class Branch:
    target: int


@dataclass(frozen=True)
class IndexedBranch:
    """``brx.idx``: the lane's number picks its target."""

    choice: Read
    targets: tuple[int, ...]


@dataclass(frozen=True)
class Call:
    """``arguments`` and ``results`` are pairs of names: the callee's variable and the caller's."""

    function: Function
    start: int
    arguments: tuple[tuple[str, str], ...]
    results: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Return:
    """Back to the caller; in an entry, the lane is done."""


@dataclass(frozen=True)
class Exit:
    """The lane is done."""


@dataclass(frozen=True)
class Trap:
    """The program gives up."""


Control = Branch | IndexedBranch | Call | Return | Exit | Trap | Meeting


@dataclass(frozen=True)
class Step:
    """One instruction: what it does, and for which lanes."""

    action: Compute | Control
    guard: Read | None
    instruction: Instruction


class Program:
    """A module whose variables have their place in ``memory`` and whose instructions are steps.

    Raises :class:`~.faults.PtxError` for an instruction that the emulator does not know.
    """

    def __init__(self, module: Module, memory: AddressSpace) -> None:
        self.module = module
        self.memory = memory
        self.buffers: dict[str, Buffer] = {}
        self.starts: dict[str, int] = {}
        self.steps: list[Step] = []
        own = (variable for function in module.functions.values() for variable in function.variables.values())
        self.layout = Layout(v for v in (*module.variables.values(), *own) if v.space == "shared")
        self._place_variables()
        place = 0
        for function in module.functions.values():
            self.starts[function.name] = place
            place += len(function.body) + 1
        for function in module.functions.values():
            self.steps += _Linker(self, function).steps()

    def _place_variables(self) -> None:
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


_CONTROL = ("bra", "brx", "call", "ret", "exit", "trap")
_NOTHING = ("membar", "fence", "prefetch", "prefetchu", "brkpt", "nanosleep")
_SPACES = {"param", "local", "global", "const", "shared"}
_HINTS = {"nc", "ca", "cg", "cs", "lu", "cv", "wb", "wt", "volatile", "relaxed", "weak", "cta", "gpu", "sys"}
_MEMORY_MODIFIERS = frozenset(_SPACES | _HINTS | {"v2", "v4", "shared::cta"})
_SPECIALS = {
    "%laneid", "%warpid", "%nwarpid", "%dynamic_smem_size", "%total_smem_size",
    *(f"%lanemask_{relation}" for relation in ("eq", "lt", "le", "gt", "ge")),
}  # fmt: skip


class _Linker:
    """Makes the steps of one function."""

    def __init__(self, program: Program, function: Function) -> None:
        self.program = program
        self.function = function
        self.start = program.starts[function.name]
        self.memory = program.memory

    def steps(self) -> list[Step]:
        made = [self.step(instruction) for instruction in self.function.body]
        end = Instruction(("ret",), (), None, self.function.line, "end of function")
        return [*made, Step(Return(), None, end)]

    def step(self, instruction: Instruction) -> Step:
        guard = self.reader(instruction.guard, DTYPES["pred"], instruction) if instruction.guard else None
        action: Compute | Control
        if instruction.name in _CONTROL:
            action = self.control(instruction)
        elif instruction.name in ("ld", "ldu"):
            action = self.load(instruction)
        elif instruction.name == "st":
            action = self.store(instruction)
        elif instruction.name in _NOTHING:
            action = _do_nothing
        else:
            action = (
                cooperation.meeting(self, instruction)
                or cooperation.alone(self, instruction)
                or self.compute(instruction)
            )
        return Step(action, guard, instruction)

    def error(self, instruction: Instruction, problem: str) -> PtxError:
        return PtxError(instruction.line, instruction.text, problem)

    # ---- going elsewhere

    def control(self, instruction: Instruction) -> Control:
        name, operands = instruction.name, instruction.operands
        if name == "bra" and isinstance(operands[0], Symbol):
            return Branch(self.label(operands[0].name, instruction))
        if name == "brx" and isinstance(operands[1], Symbol):
            targets = self.function.tables[operands[1].name]
            choice = self.reader(_plain(operands[0]), DTYPES["u32"], instruction)
            return IndexedBranch(choice, tuple(self.label(t, instruction) for t in targets))
        if name == "call":
            return self.call(instruction)
        simple: dict[str, Control] = {"ret": Return(), "exit": Exit(), "trap": Trap()}
        if name not in simple:
            raise self.error(instruction, "the emulator does not know this form of a branch")
        return simple[name]

    def label(self, name: str, instruction: Instruction) -> int:
        if name not in self.function.labels:
            raise self.error(instruction, f"there is no label {name}")
        return self.start + self.function.labels[name]

    def call(self, instruction: Instruction) -> Call:
        operands = list(instruction.operands)
        results = operands.pop(0) if isinstance(operands[0], Arguments) else Arguments(())
        name, *others = operands
        arguments = others.pop(0) if others else Arguments(())
        callee = self.program.module.functions.get(name.name) if isinstance(name, Symbol) else None
        if callee is None or others or isinstance(results, Operand) or isinstance(arguments, Operand):
            raise self.error(instruction, "the emulator calls functions of the same module only, by name")
        start = self.program.starts[callee.name]
        return Call(callee, start, _matched(callee.parameters, arguments), _matched(callee.results, results))

    # ---- computing

    def compute(self, instruction: Instruction) -> Compute:
        made = operation(instruction)
        evaluate = made.evaluate
        reads = [self.reader(operand, dtype, instruction) for operand, dtype in made.sources]
        writes = [self.writer(operand, dtype, instruction) for operand, dtype in made.results]
        if len(writes) > 1:

            def several(team: Team) -> None:
                for write, values in zip(writes, evaluate(*[read(team) for read in reads]), strict=True):
                    write(team, values)

            return several
        only = writes[0]
        if len(reads) == 1:
            source = reads[0]
            return lambda team: only(team, evaluate(source(team)))
        if len(reads) == 2:
            first, second = reads
            return lambda team: only(team, evaluate(first(team), second(team)))
        return lambda team: only(team, evaluate(*[read(team) for read in reads]))

    def reader(self, operand: Operand | None, dtype: np.dtype, instruction: Instruction) -> Read:
        """A function that gives the operand's values as ``dtype``."""
        if isinstance(operand, Register):
            return read_register(operand, dtype)
        if isinstance(operand, Immediate):
            return always(constant(operand, dtype))
        if isinstance(operand, Special):
            return self.special(operand.name, dtype, instruction)
        if isinstance(operand, Symbol):
            return self.address_of(operand, dtype, instruction)
        raise self.error(instruction, f"the emulator does not know how to read {operand}")

    def special(self, name: str, dtype: np.dtype, instruction: Instruction) -> Read:
        word, _, axis = name.partition(".")
        known = word in ("%tid", "%ntid", "%ctaid", "%nctaid") and axis in ("x", "y", "z")
        if not known and name not in _SPECIALS:
            raise self.error(instruction, f"the emulator does not know the register {name}")

        def read(team: Team) -> Values:
            values = team.crew.special(name)
            chosen = values if team.index is None or len(values) == 1 else values[team.index]
            return chosen.astype(dtype)

        return read

    def address_of(self, symbol: Symbol, dtype: np.dtype, instruction: Instruction) -> Read:
        if symbol.name in self.program.layout.offsets:
            place = SHARED_WINDOW + self.program.layout.offsets[symbol.name] + symbol.offset
            return always(np.array([place], np.uint64).astype(dtype))
        variable = self.function.variables.get(symbol.name)
        if variable is not None and variable.space == "local":
            name, offset = symbol.name, symbol.offset
            return lambda team: np.array([team.frame.locals[name] + offset], np.uint64)
        buffer = self.program.buffers.get(symbol.name)
        if buffer is None:
            raise self.error(instruction, f"nothing has an address that is named {symbol.name}")
        return always(np.array([buffer.address + symbol.offset], np.uint64))

    def writer(self, operand: Operand | None, dtype: np.dtype, instruction: Instruction) -> Write:
        """A function that puts values of ``dtype`` into the operand."""
        if operand is None:
            return discard
        if not isinstance(operand, Register):
            raise self.error(instruction, f"a result must go to a register, not to {operand}")
        return write_register(operand, dtype)

    # ---- memory

    def load(self, instruction: Instruction) -> Compute:
        dtype = self.access_type(instruction)
        target, address = instruction.operands
        if not isinstance(address, Address) or isinstance(target, Arguments):
            raise self.error(instruction, "expected an address")
        items = target.items if isinstance(target, Vector) else (target,)
        writes = [self.writer(item, dtype, instruction) for item in items]
        if "param" in instruction.modifiers:
            name, offset = self.parameter(address, instruction)
            return lambda team: load_parameter(team, name, offset, dtype, writes)
        read = self.address(address, instruction)
        memory, space = self.memory, self.space(instruction)

        def load(team: Team) -> None:
            addresses = read(team)
            check_alignment(addresses, dtype.itemsize * len(writes))
            for place, write in enumerate(writes):
                write(
                    team,
                    load_values(memory, team, space, addresses + np.uint64(place * dtype.itemsize), dtype),
                )

        return load

    def store(self, instruction: Instruction) -> Compute:
        dtype = self.access_type(instruction)
        address, source = instruction.operands
        if not isinstance(address, Address) or isinstance(source, Arguments):
            raise self.error(instruction, "expected an address")
        items = source.items if isinstance(source, Vector) else (source,)
        reads = [self.reader(item, dtype, instruction) for item in items]
        if "param" in instruction.modifiers:
            name, offset = self.parameter(address, instruction)
            return lambda team: store_parameter(team, name, offset, dtype, reads)
        read = self.address(address, instruction)
        memory, space = self.memory, self.space(instruction)

        def store(team: Team) -> None:
            addresses = read(team)
            check_alignment(addresses, dtype.itemsize * len(reads))
            for place, value in enumerate(reads):
                part = addresses + np.uint64(place * dtype.itemsize)
                store_values(memory, team, space, part, value(team))

        return store

    def access_type(self, instruction: Instruction) -> np.dtype:
        *modifiers, kind = instruction.modifiers
        for modifier in modifiers:
            if modifier not in _MEMORY_MODIFIERS:
                raise self.error(instruction, f"the emulator does not know .{modifier} here")
        if kind not in DTYPES:
            raise self.error(instruction, f"the emulator does not know the type .{kind}")
        return DTYPES[kind]

    def parameter(self, address: Address, instruction: Instruction) -> tuple[str, int]:
        if not isinstance(address.base, Symbol) or address.base.name not in self.function.variables:
            raise self.error(instruction, "parameters are reached by their names only")
        return address.base.name, address.base.offset + address.offset

    def address(self, address: Address, instruction: Instruction) -> Read:
        base = self.reader(address.base, DTYPES["u64"], instruction)
        if address.offset == 0:
            return base
        offset = np.array([address.offset % 2**64], np.uint64)
        return lambda team: base(team) + offset

    def space(self, instruction: Instruction) -> Space:
        """Where an access goes: generic, unless it says so."""
        words = {word.removesuffix("::cta") for word in instruction.modifiers}
        if "shared" in words:
            return "shared"
        if "local" in words:
            return "local"
        return "global" if _SPACES & words else "generic"


def _do_nothing(_team: Team) -> None:
    """Fences and hints: lanes already see memory in program order."""


def _plain(operand: Operand | Arguments) -> Operand | None:
    return None if isinstance(operand, Arguments) else operand


def _matched(inner: list[Variable], outer: Arguments) -> tuple[tuple[str, str], ...]:
    """The names of a callee's variables with those of the caller's."""
    names = [operand.name for operand in outer.items if isinstance(operand, Symbol)]
    return tuple(zip((variable.name for variable in inner), names, strict=True))
