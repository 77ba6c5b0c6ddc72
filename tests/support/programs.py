"""Random scalar functions: assignments, branches, loops, early returns, arithmetic and mathematics.

Every name keeps one type (``whole`` or ``real``), so that all functions compile. Loops are short, and values grow fast
enough to reach overflow, infinities, NaN, domain errors and division by zero now and then.
"""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

COLUMNS = {"whole": ("bigint", "int", "smallint"), "real": ("double", "float")}
_REAL = ("{} + {}", "{} - {}", "{} * {}", "{} / {}", "{} % {}", "{} // {}", "min({}, {})", "max({}, {})",
         "math.atan2({}, {})", "math.copysign({}, {})", "math.hypot({}, {})")  # fmt: skip
_WHOLE = ("{} + {}", "{} - {}", "{} * {}", "{} % {}", "{} // {}", "{} & {}", "{} | {}", "{} ^ {}", "min({}, {})",
          "max({}, {})", "{} >> ({} & 7)", "{} << ({} & 3)")  # fmt: skip
_FUNCTIONS = ("abs({})", "-{}", "math.sqrt({})", "math.exp({})", "math.log({})", "math.sin({})", "math.cos({})",
              "math.tanh({})", "math.atan({})", "math.floor({}) * 1.0", "math.log1p({})", "math.erf({})",
              "math.fabs({})", "math.degrees({})")  # fmt: skip
_COMPARE = ("<", "<=", ">", ">=", "==", "!=")


class Maker:
    """Writes one function. The same seed writes the same function."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.names = {name: self.random.choice(("whole", "real")) for name in "abc"}
        self.types = [self.random.choice(COLUMNS[kind]) for kind in self.names.values()]
        self.result = self.random.choice(("double", "double", "bigint", "boolean"))

    def function(self, name: str) -> str:
        lines = [line for _ in range(self.random.randint(1, 4)) for line in self.statement(2)]
        return "\n".join([f"def {name}(a, b, c):", *(f"    {line}" for line in [*lines, f"return {self.answer()}"])])

    def answer(self) -> str:
        if self.random.random() < 0.08:
            return "None"
        if self.result == "boolean":
            return self.test(2)
        return self.expression("whole" if self.result == "bigint" else self.random.choice(("real", "whole")), 2)

    def statement(self, depth: int) -> list[str]:
        kinds = ["assign", "assign", "change", "branch", "loop", "return", "raise"] if depth else ["assign", "change"]
        match self.random.choice(kinds):
            case "branch":
                inner = [line for _ in range(self.random.randint(1, 2)) for line in self.statement(depth - 1)]
                other = self.statement(depth - 1) if self.random.random() < 0.5 else []
                lines = [f"if {self.test(1)}:", *(f"    {line}" for line in inner)]
                return [*lines, "else:", *(f"    {line}" for line in other)] if other else lines
            case "loop":
                inner = [line for _ in range(self.random.randint(1, 2)) for line in self.statement(0)]
                stop = [f"    if {self.test(1)}:", "        break"] if self.random.random() < 0.4 else []
                return [f"for n in range({self.random.randint(1, 4)}):", *(f"    {line}" for line in inner), *stop]
            case "return":
                return [f"if {self.test(1)}:", f"    return {self.answer()}"]
            case "raise":
                return [f"if {self.test(2)} and {self.test(1)}:", "    raise ValueError('no')"]
            case "change":
                name = self.random.choice(list(self.names))
                return [f"{name} = {self.expression(self.names[name], 2)}"]
        kind = self.random.choice(("whole", "real"))
        name = self.random.choice([n for n, k in self.names.items() if k == kind] or list(self.names))
        return [f"{name} = {self.expression(self.names[name], 3)}"]

    def expression(self, kind: str, depth: int) -> str:
        chance = self.random.random()
        if depth == 0 or chance < 0.15:
            return self.leaf(kind)
        if chance < 0.25:
            return f"({self.expression(kind, depth - 1)} if {self.test(1)} else {self.expression(kind, depth - 1)})"
        if kind == "real" and chance < 0.5:
            return f"({self.random.choice(_FUNCTIONS)})".format(self.expression("real", depth - 1))
        if kind == "real" and chance < 0.6:
            return f"float({self.expression('whole', depth - 1)})"
        if kind == "whole" and chance < 0.4:
            return self.random.choice(("abs({})", "-({})", "~({})")).format(self.expression("whole", depth - 1))
        form = self.random.choice(_REAL if kind == "real" else _WHOLE)
        return f"({form})".format(self.expression(kind, depth - 1), self.expression(kind, depth - 1))

    def leaf(self, kind: str) -> str:
        names = [name for name, k in self.names.items() if k == kind]
        if names and self.random.random() < 0.75:
            return self.random.choice(names)
        if kind == "whole":
            return str(self.random.choice((0, 1, 2, 3, 7, 10, 63, 1000, 2**31, 2**53 + 1)))
        return repr(self.random.choice((0.0, 0.5, 1.0, 1.5, 2.0, 3.14159, 1e-3, 1e10, 1e300)))

    def test(self, depth: int) -> str:
        if depth and self.random.random() < 0.3:
            joint = self.random.choice(("and", "or"))
            return f"({self.test(depth - 1)} {joint} {self.test(depth - 1)})"
        kind = self.random.choice(("whole", "real"))
        return f"{self.leaf(kind)} {self.random.choice(_COMPARE)} {self.leaf(kind)}"


def load_programs(
    seeds: range, folder: Path, maker: Callable[[int], Any] = Maker, head: str = "import math\n"
) -> list[tuple[Any, Callable[..., Any]]]:
    """Writes the functions of these seeds to one file, as a user would; returns each maker with its loaded function."""
    makers = [maker(seed) for seed in seeds]
    name = f"{maker.__module__.rpartition('.')[2]}_{seeds.start}_{seeds.stop}"
    text = "\n\n\n".join(maker.function(f"f{n}") for n, maker in enumerate(makers))
    path = folder / f"{name}.py"
    path.write_text(f"{head}\n\n{text}\n")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [(maker, getattr(module, f"f{n}")) for n, maker in enumerate(makers)]
