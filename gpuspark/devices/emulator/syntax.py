"""The syntax tree of a PTX text: a module of variables and functions, each a list of instructions.

:mod:`.parser` builds it; :mod:`.program` translates it into steps that can be executed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Space = Literal["reg", "param", "local", "global", "const", "shared", "generic"]

DTYPES: dict[str, np.dtype] = {
    name: np.dtype(scalar)
    for name, scalar in {
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
    """A register of a function. ``number`` is its index in the function's frame."""

    name: str
    number: int
    dtype: np.dtype
    negated: bool = False
    """Whether it is read as ``!%p``, the negated predicate."""


CARRY = Register("%cc", 0, DTYPES["pred"])
"""The carry flag, which ``add.cc`` writes and ``addc`` reads: the first register of every frame."""


@dataclass(frozen=True)
class Special:
    """A special register, such as ``%tid.x``."""

    name: str


@dataclass(frozen=True)
class Immediate:
    """A number in the text. ``bits`` are those of an integer (``width`` 0), an f32 (32) or an f64 (64)."""

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
    """``{a, b}``. ``None`` stands for ``_``, an element that is discarded."""

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
    """``file:line`` of the source code, if the compiler recorded it."""

    @property
    def name(self) -> str:
        """The first part of the opcode: ``add``."""
        return self.opcode[0]

    @property
    def modifiers(self) -> tuple[str, ...]:
        """The other parts of the opcode: ``("rn", "f64")``."""
        return self.opcode[1:]


@dataclass(frozen=True)
class Variable:
    """A variable in memory. ``initial`` holds its first bytes; the rest are zero.

    ``links`` are the addresses of other variables in its initial value: (byte offset, symbol).
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
    """A kernel (``.entry``) or a device function (``.func``). ``labels`` maps a label to an index in ``body``."""

    name: str
    is_entry: bool
    parameters: list[Variable]
    results: list[Variable]
    line: int
    body: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    tables: dict[str, list[str]] = field(default_factory=dict)
    """The labels of each ``.branchtargets`` list, which ``brx.idx`` chooses from."""
    variables: dict[str, Variable] = field(default_factory=dict)
    registers: list[Register] = field(default_factory=list)


@dataclass
class Module:
    """The syntax tree of one PTX text."""

    version: str
    target: str
    variables: dict[str, Variable] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
