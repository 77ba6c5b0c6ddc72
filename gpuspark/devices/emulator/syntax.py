"""What a PTX text says, as plain data: a module of variables and functions, each a list of instructions.

:mod:`.parser` makes these, :mod:`.program` turns them into steps that can be run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Space = Literal["reg", "param", "local", "global", "const", "shared", "generic"]

DTYPES: dict[str, np.dtype] = {
    name: np.dtype(kind)
    for name, kind in {
        "pred": np.bool_,
        "b8": np.uint8, "b16": np.uint16, "b32": np.uint32, "b64": np.uint64,
        "u8": np.uint8, "u16": np.uint16, "u32": np.uint32, "u64": np.uint64,
        "s8": np.int8, "s16": np.int16, "s32": np.int32, "s64": np.int64,
        "f16": np.float16, "f32": np.float32, "f64": np.float64,
    }.items()
}  # fmt: skip
"""The NumPy type of every scalar PTX type."""


@dataclass(frozen=True)
class Register:
    """A register of the function it appears in, known by its place in that function's frame."""

    name: str
    place: int
    dtype: np.dtype
    negated: bool = False
    """``!%p``: the predicate's opposite."""


CARRY = Register("%cc", 0, DTYPES["pred"])
"""The carry flag that ``add.cc`` leaves for ``addc``: the first register of every frame."""


@dataclass(frozen=True)
class Special:
    """A read-only register of the machine, such as ``%tid.x``."""

    name: str


@dataclass(frozen=True)
class Immediate:
    """A number in the text. ``bits`` are those of an integer (``width`` 0), f32 (32) or f64 (64)."""

    bits: int
    width: Literal[0, 32, 64] = 0


@dataclass(frozen=True)
class Symbol:
    """The address of a variable, or the name of a label or function."""

    name: str
    offset: int = 0


@dataclass(frozen=True)
class Address:
    """``[base+offset]``."""

    base: Register | Symbol | Immediate
    offset: int


@dataclass(frozen=True)
class Vector:
    """``{a, b}``. ``None`` stands for ``_``, an element that nobody wants."""

    items: tuple[Operand | None, ...]


@dataclass(frozen=True)
class Pair:
    """``p|q``: two results of one instruction."""

    first: Operand | None
    second: Operand | None


Operand = Register | Special | Immediate | Symbol | Address | Vector | Pair


@dataclass(frozen=True)
class Arguments:
    """``(a, b)``: the arguments, or results, of a call."""

    items: tuple[Operand, ...]


@dataclass(frozen=True)
class Instruction:
    """One instruction. ``opcode`` is split at its dots: ``("add", "rn", "f64")``."""

    opcode: tuple[str, ...]
    operands: tuple[Operand | Arguments, ...]
    guard: Register | None
    line: int
    text: str
    source: str | None = None
    """``file:line`` of the source code, where the compiler recorded it."""

    @property
    def name(self) -> str:
        return self.opcode[0]

    @property
    def modifiers(self) -> tuple[str, ...]:
        return self.opcode[1:]


@dataclass(frozen=True)
class Variable:
    """A named piece of memory. ``initial`` holds its first bytes; the rest are zero.

    ``links`` are places in it that hold the address of another variable: (byte offset, symbol).
    """

    name: str
    space: Space
    dtype: np.dtype
    nbytes: int
    align: int
    initial: bytes = b""
    links: tuple[tuple[int, Symbol], ...] = ()


@dataclass
class Function:
    """An entry or a device function. Labels give the place of an instruction in ``body``."""

    name: str
    is_entry: bool
    parameters: list[Variable]
    results: list[Variable]
    line: int
    body: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    tables: dict[str, list[str]] = field(default_factory=dict)
    """The labels that a ``brx.idx`` chooses from."""
    variables: dict[str, Variable] = field(default_factory=dict)
    registers: list[Register] = field(default_factory=list)


@dataclass
class Module:
    """One PTX text, parsed."""

    version: str
    target: str
    variables: dict[str, Variable] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
