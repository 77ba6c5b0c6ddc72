"""Random functions in a wider Python: NumPy's scalars and booleans, assignment expressions, chained comparisons,
imports, defaults, nested functions, mixed types, ``in``, names that may be unset, ``try``, unpacked tuples.

:mod:`tests.support.programs` keeps every name to one type, so all of its functions compile. Here many are refused,
rightly: what matters is that those which compile give Python's answers. The same seed writes the same function.
"""

from __future__ import annotations

import random

from tests.support.programs import COLUMNS

HEAD = """import math
import numpy as np
from math import exp as _exp, sqrt

MISSING = float("nan")
RATE = np.float64(2.5)
COUNT = np.int64(3)
FLAG = np.bool_(True)
LIMIT = np.percentile([1.0, 2.0, 7.0], 40)
WEIGHTS = np.array([0.5, -1.0, 4.0, math.nan, 0.0])
LEVELS = np.array([3, -2, 7, 0])
TABLE = (1, 2.5, -7, True, MISSING)


def scaled(value, by=2, *, plus=0.5):
    return value * by + plus


def smallest(one, other, strict=False):
    if strict and one == other:
        return None
    return one if one < other else other


def both(one, other=1.5):
    return other, one


def signed(value):
    if value < 0:
        return -1
    return value
"""
_COMPARE = ("<", "<=", ">", ">=", "==", "!=")
_TRUTH = (
    "np.isnan({r})", "np.isfinite({r})", "~np.isnan({r})", "~np.isinf({r})", "np.isnan({r}) & ({r} > {r})",
    "np.isfinite({r}) | np.isnan({r})", "np.isnan({r}) ^ FLAG", "({r} > RATE)", "~({r} > LIMIT)", "(RATE <= {r})",
    "(not np.isnan({r}))", "math.isnan({r})", "({w} < COUNT) & ({r} > 0.0)", "({r} > {r}) is True", "~({r} > {r})",
    "np.isnan({r}) == ({r} != {r})", "bool(np.isinf({r}))", "({w} in (1, 2, {w}))", "({r} in (0.5, {r}, MISSING))",
    "({r} not in TABLE)", "({w} in TABLE)", "({r} in ({r}, {w}))", "{r} < {r} <= {r}", "{w} <= {r} < {w} != 3",
    "(0 < {w} < 10)", "({r} == {r} == {w})", "({w} < (k := {w}) <= {w})", "np.signbit({r})", "np.logical_not({t})",
    "({r} is None)", "isinstance({w}, int)", "(1 < {r} < RATE)", "({r} and {w})", "({w} or {r})",
)  # fmt: skip
_REAL = (
    "np.sqrt({r})", "np.exp({r})", "np.log({r})", "np.fabs({r})", "np.floor({r})", "(RATE * {r})", "({r} / RATE)",
    "(RATE / {r})", "({r} // np.sqrt({r}))", "(np.float64({r}) / {r})", "(np.abs({r}) % {r})", "WEIGHTS[{n}]",
    "(WEIGHTS[{n}] / {r})", "(WEIGHTS[{n}] ** {r})", "round(np.sqrt({r}), 1)", "round({r}, 2)", "round(RATE * {r}, 3)",
    "np.maximum({r}, {r})", "np.minimum({r}, RATE)", "max({r}, {w})", "min({w}, {r}, 2)", "max({r}, RATE)",
    "float(np.isnan({r}))", "(np.isnan({r}) + np.isnan({r}))", "(np.isnan({r}) * {r})", "({t} * {r})", "({t} + {w})",
    "(-np.isnan({r}))", "(np.isnan({r}) - ({r} > RATE))", "({r} if {t} else {w})", "({w} if {t} else {r})",
    "(1 if {t} else 0.5)", "(True if {t} else {r})", "({w} ** {small})", "({r} ** 2)", "({r} ** 0.5)",
    "(2 ** min({w}, 1100))",
    "scaled({r})", "scaled({r}, {w})", "scaled(by={r}, value={w})", "scaled({w}, plus={r})", "scaled({r}, by=RATE)",
    "smallest({r}, {w})", "smallest({w}, other={w})", "signed({r})", "(x := {r})", "({r} + (x := {r}))",
    "((x := {r}) - x)", "(x := {w}) * {r}", "both({r}, {w})[0]", "both({r})[1]", "_exp({r})", "sqrt({r})",
    "math.hypot({r}, {w})", "math.fmod({r}, {r})", "(+{r})", "abs({t})", "({r} or {w})", "({w} and {r})",
    "(lambda u, v=2.0: u * v)({r})", "(lambda u: u + {r})({w})", "sum(({r}, {w}))", "np.sign({r})",
    "np.hypot({t}, {r})",
    "np.float64({w})", "np.where({t}, {r}, {r})", "math.pow({r}, {small})", "divmod({r}, {r})[1]", "np.power({r}, 2)",
    "np.float32({r})", "({r} - np.float32(0.1))", "(5.0).__add__({r})", "({w} / {w})", "({w} // {r})",
)  # fmt: skip
_WHOLE = (
    "int({r})", "round({r})", "math.floor({r})", "int(np.floor({r}))", "round(np.fabs({r}))", "(COUNT * {w})",
    "({w} // COUNT)", "(COUNT ** min({w}, 60))", "LEVELS[{n}]", "(LEVELS[{n}] * {w})", "(LEVELS[{n}] // {w})",
    "int({t})", "({t} + {t})", "(~{w})", "(~{t})", "(-{t})", "({w} & COUNT)", "({w} << {small})", "({w} >> {small})",
    "({w} if {t} else {w})", "(3 if {t} else True)", "({t} and {w})", "len(TABLE)", "abs({w})", "(k := {w})",
    "({w} * (k := {w}))", "max({w}, {w}, 3)", "scaled({w}, plus=1)", "({w} % {w})", "signed({w})", "int(RATE * {r})",
    "np.int64({w})", "math.gcd({w}, {w})", "({w} ^ {w})", "sum((1, {w}, {w}))", "math.isqrt({w})",
    "divmod({w}, {w})[0]",
    "math.trunc({r})", "math.ceil({r})", "pow({w}, {small})", "pow({w}, 2, 7)", "np.abs({w})", "np.maximum({w}, {w})",
)  # fmt: skip


class Maker:
    """Writes one function; ``COLUMNS`` says the column types that its parameters may have."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(f"wider {seed}")
        kinds = [self.random.choice(("real", "real", "whole", "truth")) for _ in "abc"]
        columns = {**COLUMNS, "truth": ("boolean",)}
        self.names = dict(zip("abc", kinds, strict=True))
        self.types = [self.random.choice(columns[kind]) for kind in kinds]
        self.result = self.random.choice(("double", "double", "bigint", "boolean"))
        self.fresh = 0
        self.text = ""
        forms = {"real": _REAL, "whole": _WHOLE, "truth": _TRUTH}
        self.forms = {kind: self.random.sample(texts, 5) for kind, texts in forms.items()}
        deep = [self.branch, self.early, self.unset, self.attempt, self.imports, self.inner, self.loop, self.walrus]
        self.statements = [self.assign, self.mixed, self.unpack, self.change]
        self.deep = [*self.statements, self.branch, *self.random.sample(deep, 2)]

    def function(self, name: str) -> str:
        """Returns the text of the function."""
        lines = [line for _ in range(self.random.randint(1, 3)) for line in self.statement(2)]
        body = [*lines, f"return {self.answer()}"]
        self.text = "\n".join([f"def {name}(a, b, c):", *(f"    {line}" for line in body)])
        return self.text

    def answer(self) -> str:
        if self.result == "boolean":
            return self.expression("truth", 2)
        return self.expression("whole" if self.result == "bigint" else self.random.choice(("real", "whole")), 2)

    def block(self, depth: int) -> list[str]:
        return [f"    {line}" for line in self.statement(depth)]

    def statement(self, depth: int) -> list[str]:
        """Returns the lines of one statement; ``depth`` is how deep statements inside it may nest."""
        return self.random.choice(self.deep if depth else self.statements)(depth)

    def assign(self, depth: int) -> list[str]:
        kind = self.random.choice(("real", "whole", "truth"))
        value = self.expression(kind, 2)
        return [f"{self.target(kind)} = {value}"]

    def change(self, depth: int) -> list[str]:
        name = self.random.choice([n for n, k in self.names.items() if k != "truth"] or ["a"])
        operator = self.random.choice(("+=", "-=", "*=", "/=", "//="))
        return [f"{name} {operator} {self.expression(self.random.choice(('real', 'whole')), 1)}"]

    def mixed(self, depth: int) -> list[str]:
        """Returns the assignment of an integer on one path and of a float on another."""
        one, other = self.random.choice((("0", "{r}"), ("1", "-0.5"), ("{w}", "{r}"), ("0", "{w}"), ("{t}", "{w}")))
        test = self.expression("truth", 1)
        values = self.fill(one), self.fill(other)
        name = self.target("real")
        return [f"{name} = {values[0]}", f"if {test}:", f"    {name} = {values[1]}"]

    def unpack(self, depth: int) -> list[str]:
        names = [n for n, k in self.names.items() if k == "real"]
        if len(names) > 1 and self.random.random() < 0.5:
            one, other = self.random.sample(names, 2)
            return [f"{one}, {other} = {other}, {one}"]
        pairs = ("({r}, {w})", "({r}, {r})", "both({r}, {r})", "both({w})", "[{r}, {w}]", "divmod({w}, {w})")
        value = self.fill(self.random.choice(pairs))
        return [f"{self.target('real')}, {self.target('real')} = {value}"]

    def branch(self, depth: int) -> list[str]:
        lines = [f"if {self.expression('truth', 2)}:", *self.block(depth - 1)]
        return [*lines, "else:", *self.block(depth - 1)] if self.random.random() < 0.5 else lines

    def early(self, depth: int) -> list[str]:
        return [f"if {self.expression('truth', 2)}:", f"    return {self.answer()}"]

    def walrus(self, depth: int) -> list[str]:
        value, limit = self.expression("real", 1), self.expression("real", 1)
        name = self.target("real")
        joint = self.random.choice(("and", "or"))
        return [f"if {self.expression('truth', 1)} {joint} ({name} := {value}) > {limit}:", *self.block(depth - 1)]

    def unset(self, depth: int) -> list[str]:
        """Returns the assignment of a name on one path only; it may be read on others, where Python raises."""
        test, value = self.expression("truth", 1), self.expression("real", 1)
        name = f"u{self.fresh}"
        self.fresh += 1
        lines = [f"if {test}:", f"    {name} = {value}"]
        if self.random.random() < 0.5:
            lines += [f"if {test}:", f"    a = {name} + 1"]
        else:
            self.names[name] = "real"
        return lines

    def attempt(self, depth: int) -> list[str]:
        classes = ("ZeroDivisionError", "ValueError", "(ValueError, OverflowError)", "ArithmeticError")
        errors = self.random.choice(classes)
        value, other = self.expression("real", 2), self.expression("real", 1)
        name = self.target("real")
        return ["try:", f"    {name} = {value}", f"except {errors}:", f"    {name} = {other}"]

    def imports(self, depth: int) -> list[str]:
        form = self.random.choice(
            (
                ["import math as m", "{x} = m.floor({r})"],
                ["from math import sqrt as root", "{x} = root({r})"],
                ["if {t}:", "    from math import floor as whole", "else:", "    from math import ceil as whole",
                 "{x} = whole({r})"],
                ["if {t}:", "    from math import pi", "{x} = {r} * pi"],
            )
        )  # fmt: skip
        filled = [self.fill(line) if "{x}" not in line else line for line in form]
        value = self.fill(form[-1].replace("{x}", "X"))
        return [*filled[:-1], value.replace("X", self.target("real"), 1)]

    def inner(self, depth: int) -> list[str]:
        form = self.random.choice(
            (
                ["def inner(u, v=2.0):", "    return u * v", "{x} = inner({r})"],
                ["def inner(u, v={r}):", "    return u - v", "{x} = inner({r}, v={w})"],
                ["def inner(u):", "    return u + b", "b = {w}", "{x} = inner({r})"],
                ["inner = lambda u: u if u > 0 else 0", "{x} = inner({r})"],
            )
        )
        filled = [self.fill(line.replace("{x}", "X")) for line in form]
        return [*filled[:-1], filled[-1].replace("X", self.target("real"), 1)]

    def loop(self, depth: int) -> list[str]:
        runs = self.random.choice(("range(3)", "range({w} % 4)", "(1, 2.5, 3)", "WEIGHTS", "TABLE"))
        lines = [f"for n in {self.fill(runs)}:", f"    {self.assign(0)[0]}"]
        if self.random.random() < 0.4:
            lines += [f"    if {self.expression('truth', 1)}:", f"        {self.random.choice(('break', 'continue'))}"]
        lines.append(f"    a = a {self.random.choice('+-*')} n")
        return [*lines, "else:", *self.block(0)] if self.random.random() < 0.2 else lines

    def target(self, kind: str) -> str:
        """Returns a name to assign to, an existing or a new one, which has this kind from now on."""
        if self.random.random() < 0.5:
            name = self.random.choice(list(self.names))
        else:
            name = f"v{self.fresh}"
            self.fresh += 1
        self.names[name] = kind
        return name

    def expression(self, kind: str, depth: int) -> str:
        chance = self.random.random()
        if depth == 0 or chance < 0.25:
            return self.leaf(kind)
        if chance < 0.45 and kind != "truth":
            operators = "+ - * / % //".split() if kind == "real" else "+ - * % // & |".split()
            one, other = self.expression(kind, depth - 1), self.expression(kind, depth - 1)
            return f"({one} {self.random.choice(operators)} {other})"
        if chance < 0.45:
            one, other = self.expression("truth", depth - 1), self.expression("truth", depth - 1)
            return f"({one} {self.random.choice(('and', 'or'))} {other})"
        if chance < 0.6 and kind == "truth":
            kinds = self.random.choice((("real", "real"), ("whole", "whole"), ("real", "whole")))
            one, other = (self.expression(k, depth - 1) for k in kinds)
            return f"({one} {self.random.choice(_COMPARE)} {other})"
        return self.fill(self.random.choice(self.forms[kind]), depth - 1)

    def fill(self, form: str, depth: int = 1) -> str:
        """Returns ``form`` with its placeholders filled: {r}eal, {w}hole, {t}ruth, an i{n}dex and a {small} number."""
        for word, kind in (("{r}", "real"), ("{w}", "whole"), ("{t}", "truth")):
            while word in form:
                form = form.replace(word, self.expression(kind, depth), 1)
        while "{n}" in form:
            form = form.replace("{n}", self.random.choice(("0", "1", "3", "-1", f"{self.leaf('whole')} % 4")), 1)
        while "{small}" in form:
            form = form.replace("{small}", self.random.choice(("0", "1", "2", "3", "5")), 1)
        return form

    def leaf(self, kind: str) -> str:
        names = [name for name, k in self.names.items() if k == kind]
        if names and self.random.random() < 0.75:
            return self.random.choice(names)
        if kind == "truth":
            return self.random.choice(("True", "False", "FLAG", "(a > 0)", "np.isnan(a)"))
        if kind == "whole":
            return str(self.random.choice((0, 1, 2, 3, 7, 10, 1000, 2**31, 2**53 + 1, "COUNT", "-1", "TABLE[0]")))
        numbers = (0.0, -0.0, 0.5, 1.0, 1.5, 2.0, 1e-3, 1e10, 1e300, "RATE", "LIMIT", "MISSING", "math.inf")
        return str(self.random.choice(numbers))
