"""Parses PTX text into a :class:`~.syntax.Module`.

A recursive-descent parser over a list of tokens. It knows the grammar of PTX, but not what an instruction does: that
is in :mod:`.instructions`.
"""

from __future__ import annotations

import re
import struct

from gpuspark.devices.emulator.faults import PtxError
from gpuspark.devices.emulator.syntax import (
    CARRY,
    DTYPES,
    Address,
    Arguments,
    Function,
    Immediate,
    Instruction,
    Module,
    Operand,
    Pair,
    Register,
    Space,
    Special,
    Symbol,
    Variable,
    Vector,
)
from gpuspark.devices.emulator.tokens import tokens

_SPACES = ("param", "local", "global", "const", "shared")
_FILE = re.compile(r'^\s*\.file\s+(\d+)\s+"([^"]*)"', re.MULTILINE)
"""The number and name of a source file; some compilers list them at the end."""
_LINKAGE = (".visible", ".extern", ".weak", ".common")


def parse(text: str) -> Module:
    """Returns the syntax tree of ``text``. Raises :class:`~.faults.PtxError`, which names the PTX line."""
    return _Parser(text).module()


class _Parser:
    """Parses the directives of a module. ``position`` is the index of the next token."""

    def __init__(self, text: str) -> None:
        self.lines = text.splitlines()
        self.tokens = tokens(text)
        self.position = 0
        self.files = dict(_FILE.findall(text))

    # ---- tokens

    @property
    def next(self) -> str:
        """The text of the next token."""
        return self.tokens[self.position].text

    @property
    def line(self) -> int:
        """The line of the next token."""
        return self.tokens[self.position].line

    def take(self, expected: str | None = None) -> str:
        """Consumes and returns the next token. Raises :class:`~.faults.PtxError` unless it is ``expected``."""
        token = self.tokens[self.position]
        if token.kind == "end" or (expected is not None and token.text != expected):
            raise self.error(f"expected {expected or 'more text'}")
        self.position += 1
        return token.text

    def accept(self, text: str) -> bool:
        """Consumes the next token if it is ``text``; returns whether it was."""
        if self.next != text:
            return False
        self.position += 1
        return True

    def rest_of_line(self) -> list[str]:
        """Consumes and returns the rest of the line: ``.version`` and ``.loc`` end there, not with a semicolon."""
        line, words = self.line, []
        while self.line == line and self.tokens[self.position].kind != "end":
            words.append(self.take())
        return words

    def error(self, problem: str, line: int | None = None) -> PtxError:
        """Returns an error at ``line``, or at the next token."""
        line = line or self.line
        text = self.lines[line - 1].strip() if line <= len(self.lines) else "end of text"
        return PtxError(line, text, problem)

    # ---- the module

    def module(self) -> Module:
        """Parses the whole text."""
        module = Module(version="", target="")
        while self.tokens[self.position].kind != "end":
            word = self.next
            if word in (".version", ".target", ".file", ".address_size"):
                self.header(module)
            elif word == ".section":
                self.skip_block()
            elif word in _LINKAGE:
                self.take()
            elif word in (".entry", ".func"):
                function = self.function()
                if function is not None:
                    module.functions[function.name] = function
            elif word.startswith(".") and word[1:] in _SPACES:
                variable = self.variable()
                self.take(";")
                module.variables[variable.name] = variable
            else:
                raise self.error("the emulator does not know this directive")
        return module

    def header(self, module: Module) -> None:
        """Parses ``.version``, ``.target`` and other directives of one line."""
        word, *values = self.rest_of_line()
        if word == ".version":
            module.version = values[0]
        elif word == ".target":
            module.target = values[0]

    def skip_block(self) -> None:
        """Consumes everything up to the next closing brace."""
        while self.take() != "{":
            pass
        while self.take() != "}":
            pass

    def variable(self) -> Variable:
        """Parses ``.global .align 8 .b8 name[16] = {1, 2}``, or a parameter."""
        space: Space = self.take()[1:]  # type: ignore[assignment]
        align, type_name = 0, ""
        while self.next.startswith("."):
            word = self.take()
            if word == ".align":
                align = int(self.take())
            elif word[1:] in DTYPES:
                type_name = word[1:]
            elif word not in (".ptr", ".global", ".const", ".shared", ".local"):
                raise self.error("the emulator does not know this attribute of a variable")
            if word == ".ptr" and self.next == ".align":  # the alignment of what the pointer points to
                self.position += 2
        if not type_name:
            raise self.error("a variable without a type")
        name = self.take()
        count, dtype = 1, DTYPES[type_name]
        open_ended = False
        while self.accept("["):
            open_ended = self.next == "]"
            count *= 1 if open_ended else int(self.take())
            self.take("]")
        initial, links = self.initial(type_name) if self.accept("=") else (b"", ())
        nbytes = len(initial) if open_ended else count * dtype.itemsize
        return Variable(name, space, dtype, nbytes, align or dtype.itemsize, initial, links)

    def initial(self, type_name: str) -> tuple[bytes, tuple[tuple[int, Symbol], ...]]:
        """Parses an initialiser. Returns its bytes, and the addresses of other variables with their offsets."""
        data = bytearray()
        links: list[tuple[int, Symbol]] = []
        width = DTYPES[type_name].itemsize
        depth = 0
        while True:
            if self.accept("{"):
                depth += 1
            elif self.accept("}"):
                depth -= 1
            elif not self.accept(","):
                value = self.initial_value()
                if isinstance(value, Symbol):
                    links.append((len(data), value))
                    data += bytes(width)
                else:
                    data += _as_bytes(value, type_name)
            if depth == 0:
                return bytes(data), tuple(links)

    def initial_value(self) -> Immediate | Symbol:
        """Parses one number, or the address of a variable, of an initialiser."""
        if self.tokens[self.position].kind == "number" or self.next == "-":
            return self.number()
        name = self.take()
        if name == "generic":
            self.take("(")
            name = self.take()
            self.take(")")
        offset = self.number().bits if self.accept("+") else 0
        return Symbol(name, offset)

    # ---- functions

    def function(self) -> Function | None:
        """Parses a function. Returns ``None`` for a declaration without a body."""
        line, is_entry = self.line, self.take() == ".entry"
        results = self.parameters() if self.next == "(" else []
        name = self.take()
        parameters = self.parameters() if self.next == "(" else []
        while self.next not in ("{", ";"):  # .maxntid 256, 1, 1 and other performance directives
            self.take()
        if self.accept(";"):
            return None
        function = Function(name, is_entry, parameters, results, line)
        function.variables = {v.name: v for v in (*parameters, *results)}
        _Body(self, function).read()
        return function

    def parameters(self) -> list[Variable]:
        """Parses ``(.param .u64 a, .param .u32 b)``."""
        variables: list[Variable] = []
        self.take("(")
        while not self.accept(")"):
            if self.next == ".reg":
                raise self.error("the emulator does not know parameters in registers")
            variables.append(self.variable())
            self.accept(",")
        return variables

    def number(self) -> Immediate:
        """Parses an integer or a floating-point number."""
        sign = -1 if self.accept("-") else 1
        text = self.take()
        lower = text.lower()
        if lower.startswith("0d"):
            value = Immediate(int(text[2:], 16), 64)
        elif lower.startswith("0f") and len(text) == 10:
            value = Immediate(int(text[2:], 16), 32)
        elif "." in text:
            value = Immediate(struct.unpack("<Q", struct.pack("<d", float(text)))[0], 64)
        else:
            value = Immediate(sign * _integer(lower.rstrip("u")))
            sign = 1
        return value if sign > 0 else Immediate(value.bits ^ (1 << (value.width - 1)), value.width)


def _integer(text: str) -> int:
    """Returns the value of a hexadecimal, binary, octal or decimal number."""
    if text.startswith(("0x", "0b")):
        return int(text, 0)
    return int(text, 8) if len(text) > 1 and text[0] == "0" else int(text)


def _as_bytes(value: Immediate, type_name: str) -> bytes:
    """Returns the bytes of ``value`` in memory, as the type ``type_name``."""
    dtype = DTYPES[type_name]
    if value.width == 64 and type_name == "f32":
        return struct.pack("<f", struct.unpack("<d", struct.pack("<Q", value.bits))[0])
    if value.width == 0 and dtype.kind == "f":
        return struct.pack("<f" if type_name == "f32" else "<d", value.bits)
    return (value.bits & ((1 << 8 * dtype.itemsize) - 1)).to_bytes(dtype.itemsize, "little")


class _Body:
    """Parses the body of one function. Registers are looked up scope by scope, the innermost first."""

    def __init__(self, parser: _Parser, function: Function) -> None:
        self.parser = parser
        self.function = function
        self.scopes: list[dict[str, Register]] = []
        function.registers.append(CARRY)
        self.source: str | None = None

    def read(self) -> None:
        """Parses the body and adds its instructions, labels and variables to the function."""
        parser = self.parser
        parser.take("{")
        self.scopes.append({})
        while self.scopes:
            word = parser.next
            if parser.accept("{"):
                self.scopes.append({})
            elif parser.accept("}"):
                self.scopes.pop()
            elif word == ".reg":
                self.registers()
            elif word == ".loc":
                self.location()
            elif word == ".pragma":
                parser.rest_of_line()
            elif word.startswith(".") and word[1:] in _SPACES:
                self.declare(parser.variable())
                parser.take(";")
            elif parser.tokens[parser.position + 1].text == ":":
                self.label()
            else:
                self.function.body.append(self.instruction())

    def declare(self, variable: Variable) -> None:
        """Adds a variable. Each call declares its own ``param0``: the largest one serves them all."""
        known = self.function.variables.get(variable.name)
        if known is None or known.nbytes < variable.nbytes:
            self.function.variables[variable.name] = variable

    def registers(self) -> None:
        """Parses ``.reg .b32 %r<31>;`` or ``.reg .u32 a, b;``."""
        parser = self.parser
        parser.take(".reg")
        type_name = parser.take()[1:]
        if type_name not in DTYPES:
            raise parser.error("the emulator does not know this type of register")
        while not parser.accept(";"):
            prefix = parser.take()
            names = [prefix]
            if parser.accept("<"):
                names = [f"{prefix}{i}" for i in range(int(parser.take()))]
                parser.take(">")
            for name in names:
                register = Register(name, len(self.function.registers), DTYPES[type_name])
                self.function.registers.append(register)
                self.scopes[-1][name] = register
            parser.accept(",")

    def location(self) -> None:
        """Parses ``.loc file line column``: the source line of the instructions that follow."""
        words = self.parser.rest_of_line()
        self.source = f"{self.parser.files.get(words[1], words[1])}:{words[2]}"

    def label(self) -> None:
        """Parses ``name:``, or ``name: .branchtargets a, b;``."""
        parser = self.parser
        name = parser.take()
        parser.take(":")
        if parser.accept(".branchtargets"):
            targets = [parser.take()]
            while parser.accept(","):
                targets.append(parser.take())
            parser.take(";")
            self.function.tables[name] = targets
        else:
            self.function.labels[name] = len(self.function.body)

    def instruction(self) -> Instruction:
        """Parses ``@%p add.s32 %a, %b, %c;``."""
        parser = self.parser
        line = parser.line
        guard = None
        if parser.accept("@"):
            guard = self.predicate()
        opcode = parser.take()
        if not re.match(r"[a-z]", opcode):
            raise parser.error("the emulator does not know this directive", line)
        operands: list[Operand | Arguments] = []
        while not parser.accept(";"):
            operands.append(self.arguments() if parser.next == "(" else self.operand())
            if parser.next != ";":
                parser.take(",")
        source_text = " ".join(
            text.strip() for text in parser.lines[line - 1 : parser.tokens[parser.position - 1].line]
        )
        return Instruction(tuple(opcode.split(".")), tuple(operands), guard, line, source_text, self.source)

    def predicate(self) -> Register:
        """Parses ``%p`` or ``!%p``."""
        negated = self.parser.accept("!")
        register = self.operand()
        if not isinstance(register, Register):
            raise self.parser.error("a guard must be a predicate register")
        return Register(register.name, register.number, register.dtype, negated)

    def arguments(self) -> Arguments:
        """Parses ``(a, b)``."""
        parser = self.parser
        parser.take("(")
        items: list[Operand] = []
        while not parser.accept(")"):
            items.append(self.operand())
            parser.accept(",")
        return Arguments(tuple(items))

    def operand(self) -> Operand:
        """Parses one operand of an instruction."""
        parser = self.parser
        if parser.next == "[":
            return self.address()
        if parser.next == "{":
            return self.vector()
        if parser.next == "!":
            return self.predicate()
        if parser.next == "-" or parser.tokens[parser.position].kind == "number":
            return parser.number()
        first = self.named()
        if parser.accept("|"):
            second = None if parser.accept("_") else self.named()
            return Pair(None if first == Symbol("_") else first, second)
        if isinstance(first, Symbol) and parser.accept("+"):
            return Symbol(first.name, parser.number().bits)
        return first

    def named(self) -> Register | Special | Symbol:
        """Parses a name: of a register, a special register, or a variable, label or function."""
        name = self.parser.take()
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        return Special(name) if name.startswith("%") else Symbol(name)

    def vector(self) -> Vector:
        """Parses ``{a, b}``."""
        parser = self.parser
        parser.take("{")
        items: list[Operand | None] = []
        while not parser.accept("}"):
            items.append(None if parser.accept("_") else self.operand())
            parser.accept(",")
        return Vector(tuple(items))

    def address(self) -> Address:
        """Parses ``[base+offset]``."""
        parser = self.parser
        parser.take("[")
        numeric = parser.tokens[parser.position].kind == "number"
        base = parser.number() if numeric else self.named()
        if isinstance(base, Special):
            raise parser.error("no such register")
        offset = 0
        if parser.accept("+") or parser.next == "-":
            offset = parser.number().bits
        parser.take("]")
        return Address(base, offset)
