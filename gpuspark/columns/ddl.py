"""Parses Spark's type strings without Spark: ``double``, ``map<string,array<int>>``, ``a int, b string``.

The grammar is that of ``DataType.fromDDL`` in PySpark 4.3. With it ``gs.udf`` rejects a misspelt type when a function
is decorated, before there is a session. Names of collations are not checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from gpuspark.errors import DeclarationError, nearest

T = TypeVar("T")
_TOKENS = re.compile(
    r"(?P<skip>\s+|--[^\n]*|/\*.*?\*/)|(?P<quoted>`(?:[^`]|``)*`)|(?P<string>'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\")"
    r"|(?P<word>\w+)|(?P<mark>[<>(),:.])|(?P<other>.)",
    re.DOTALL | re.ASCII,
)
_SIMPLE = {
    "boolean": "boolean", "tinyint": "tinyint", "byte": "tinyint", "smallint": "smallint", "short": "smallint",
    "int": "int", "integer": "int", "bigint": "bigint", "long": "bigint", "float": "float", "real": "float",
    "double": "double", "date": "date", "binary": "binary", "void": "void", "variant": "variant",
}  # fmt: skip
_UNITS = (("year", "month"), ("day", "hour", "minute", "second"))
_NAMES = (*_SIMPLE, "string", "decimal", "timestamp", "timestamp_ntz", "time", "interval day to second",
          "array", "map", "struct")  # fmt: skip


def canonical(text: str) -> str:
    """Returns Spark's own name of the type that ``text`` names.

    >>> canonical("ARRAY < LONG >"), canonical("a int not null, b timestamp without time zone")
    ('array<bigint>', 'struct<a:int,b:timestamp_ntz>')

    Raises :class:`~gpuspark.errors.DeclarationError` for a string that Spark does not accept as a type.
    """
    for rule in (_Parser.schema, _Parser.type, _Parser.struct_fields):
        parsed = _parse_all(text, rule)
        if parsed is not None:
            return parsed if isinstance(parsed, str) else f"struct<{','.join(map(':'.join, parsed))}>"
    raise _refused(text)


def columns(text: str) -> dict[str, str] | list[str]:
    """Returns the types by name for ``"a double, b int not null"``, and a list of types for ``"double, int"``.

    Raises :class:`~gpuspark.errors.DeclarationError` for a string that is neither.
    """
    types = _parse_all(text, _Parser.types)
    if types is not None:
        return types
    named = _parse_all(text, _Parser.schema) or _parse_all(text, _Parser.struct_fields)
    if named is None:
        raise _refused(text)
    return dict(named)


def _parse_all(text: str, rule: Callable[[_Parser], T]) -> T | None:
    """Parses the whole of ``text`` by one rule of the grammar; returns ``None`` if it does not fit."""
    parser = _Parser(text)
    try:
        parsed = rule(parser)
    except _SyntaxMismatch:
        return None
    return parsed if parser.next() == "" else None


def _refused(text: str) -> DeclarationError:
    hint = nearest(" ".join(text.lower().split()), _NAMES)
    return DeclarationError(f"{text!r} is not a type of Spark SQL. {hint}")


class _SyntaxMismatch(Exception):
    """The text does not fit the rule of the grammar."""


class _Parser:
    """A recursive-descent parser: each method consumes the tokens of one rule, which its name says."""

    def __init__(self, text: str) -> None:
        self._tokens = [(str(m.lastgroup), m.group()) for m in _TOKENS.finditer(text) if m.lastgroup != "skip"]
        self._position = 0

    def next(self, ahead: int = 0) -> str:
        """Returns the next token in lower case without consuming it; empty at the end, a backtick for a quoted one."""
        position = self._position + ahead
        group, token = self._tokens[position] if position < len(self._tokens) else ("", "")
        return "`" if group in ("quoted", "string") else token.lower()

    def take(self, *wanted: str) -> bool:
        """Consumes the tokens ``wanted`` if they come next; returns whether they did."""
        matches = all(self.next(ahead) == token for ahead, token in enumerate(wanted))
        self._position += len(wanted) if matches else 0
        return matches

    def need(self, *wanted: str) -> None:
        if not self.take(*wanted):
            raise _SyntaxMismatch

    def _token(self, *groups: str) -> str:
        group, token = self._tokens[self._position] if self._position < len(self._tokens) else ("", "")
        if group not in groups:
            raise _SyntaxMismatch
        self._position += 1
        return token

    def name(self) -> str:
        token = self._token("word", "quoted")
        return token[1:-1].replace("``", "`") if token.startswith("`") else token

    def number(self, least: int, most: int) -> int:
        token = self._token("word")
        if not token.isdecimal() or not least <= int(token) <= most:
            raise _SyntaxMismatch
        return int(token)

    def _comma_separated(self, rule: Callable[[], T]) -> list[T]:
        items = [rule()]
        while self.take(","):
            items.append(rule())
        return items

    def types(self) -> list[str]:
        return self._comma_separated(self.type)

    def schema(self) -> list[tuple[str, str]]:
        return [] if self.next() == "" else self._comma_separated(lambda: self._field(colon=False))

    def struct_fields(self) -> list[tuple[str, str]]:
        return [] if self.next() in ("", ">") else self._comma_separated(lambda: self._field(colon=True))

    def _field(self, *, colon: bool) -> tuple[str, str]:
        name = self.name()
        if colon:
            self.take(":")
        field_type = self.type()
        self.take("not", "null")
        if self.take("comment"):
            self._token("string")
        return name, field_type

    def type(self) -> str:
        word = self._token("word").lower()
        if word in _SIMPLE:
            return _SIMPLE[word]
        rules: dict[str, Callable[[str], str]] = {
            "array": self._array, "map": self._map, "struct": self._struct, "string": self._string,
            "decimal": self._decimal, "dec": self._decimal, "numeric": self._decimal, "interval": self._interval,
            "char": self._char, "character": self._char, "varchar": self._char, "time": self._time,
            "timestamp": self._timestamp, "timestamp_ltz": self._timestamp, "timestamp_ntz": self._timestamp,
            "geometry": self._spatial, "geography": self._spatial,
        }  # fmt: skip
        if word not in rules:
            raise _SyntaxMismatch
        return rules[word](word)

    def _array(self, _word: str) -> str:
        self.need("<")
        element = self.type()
        self.need(">")
        return f"array<{element}>"

    def _map(self, _word: str) -> str:
        self.need("<")
        key = self.type()
        self.need(",")
        item = self.type()
        self.need(">")
        return f"map<{key},{item}>"

    def _struct(self, _word: str) -> str:
        self.need("<")
        fields = self.struct_fields()
        self.need(">")
        return f"struct<{','.join(map(':'.join, fields))}>"

    def _string(self, word: str) -> str:
        if not self.take("collate"):
            return word
        names = [self.name()]
        while self.take("."):
            names.append(self.name())
        return f"string collate {names[-1].upper()}"

    def _char(self, word: str) -> str:
        self.need("(")
        length = self.number(1, 2**31 - 1)
        self.need(")")
        if self.take("collate"):
            self.name()
        return f"{'varchar' if word == 'varchar' else 'char'}({length})"

    def _decimal(self, _word: str) -> str:
        precision, scale = 10, 0
        if self.take("("):
            precision = self.number(1, 38)
            scale = self.number(0, precision) if self.take(",") else 0
            self.need(")")
        return f"decimal({precision},{scale})"

    def _seconds_precision(self, most: int) -> int:
        """Parses an optional number of fractional digits of a second, 6 by default."""
        if not self.take("("):
            return 6
        digits = self.number(0, most)
        self.need(")")
        return digits

    def _time(self, _word: str) -> str:
        digits = self._seconds_precision(9)
        self.take("without", "time", "zone")
        return f"time({digits})"

    def _timestamp(self, word: str) -> str:
        self._seconds_precision(6)
        if word == "timestamp" and self.take("without", "time", "zone"):
            return "timestamp_ntz"
        if word == "timestamp":
            self.take("with", "local", "time", "zone")
        return "timestamp_ntz" if word == "timestamp_ntz" else "timestamp"

    def _interval(self, word: str) -> str:
        for units in _UNITS:
            if self.next() in units:
                first = units.index(self._token("word").lower())
                last = first
                if self.take("to"):
                    last = next((n for n in range(first + 1, len(units)) if self.take(units[n])), -1)
                    if last < 0:
                        raise _SyntaxMismatch
                return f"interval {units[first]}" + (f" to {units[last]}" if last > first else "")
        return word

    def _spatial(self, word: str) -> str:
        self.need("(")
        reference_system: Any = "any" if self.take("any") else self.number(0, 2**31 - 1)
        self.need(")")
        return f"{word}({reference_system})"
