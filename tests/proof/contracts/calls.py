"""What our source uses of CUDA's and RAPIDS' packages: found in its syntax, never by hand.

An attribute chain that begins at an imported module (``driver.cuInit``, ``rapids.cudf.Series.from_arrow``) is
resolved by itself. What a method belongs to cannot be read from Python's source, so :data:`OBJECTS` says what
class the objects of a file are of; an object that is missing there is reported, not passed over.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGES = frozenset({"cuda", "cudf", "cupy", "pylibcudf", "rmm"})
RAPIDS = "gpuspark/devices/rapids.py"

_MEMORY = "cuda.core._memory._memory_pool."
OBJECTS = {
    "gpuspark/devices/cuda.py": {
        "self._device": "cuda.core.Device",
        "self._device.memory_resource": "cuda.core.DeviceMemoryResource",
        "self._device.memory_resource.attributes": _MEMORY + "_MemPoolAttributes",
        "self._device.properties": "cuda.core._device.DeviceProperties",
        "allocation.buffer": "cuda.core.Buffer",
        "buffer": "cuda.core.Buffer",
        "LEGACY_DEFAULT_STREAM": "cuda.core.Stream",
        "_ask_driver: device": "cuda.core.Device",
    },
    "gpuspark/devices/nvjitlink.py": {},
    RAPIDS: {"series": "cudf.Series", "frame": "cudf.DataFrame"},
    "gpuspark/columns/cudf_form.py": {"result": "cudf.Series"},
    "gpuspark/columns/batch.py": {
        "_array_module(device)": "cupy",
        "_array_module(self.device)": "cupy",
        "self.values.get": "cupy.ndarray.get",
        "self.values.__dlpack_device__": "cupy.ndarray.__dlpack_device__",
        "self._without_nulls('the CUDA array interface')": "cupy.ndarray",
        "values.__dlpack__": "cupy.ndarray.__dlpack__",
        "value.to_arrow": "cudf.Series.to_arrow",
    },
}
"""By file, the class of the objects that expressions stand for (``function: expression`` in one function only); or
the full name of one method."""

RETURNS = {
    "cuda.core.ObjectCode.from_cubin": "cuda.core.ObjectCode",
    "cuda.core.ObjectCode.from_ptx": "cuda.core.ObjectCode",
    "cuda.core.ObjectCode.get_kernel": "cuda.core.Kernel",
    "cudf.Series.from_arrow": "cudf.Series",
    "cudf.DataFrame.from_arrow": "cudf.DataFrame",
    "cudf.Series.from_pandas": "cudf.Series",
    "cudf.DataFrame.from_pandas": "cudf.DataFrame",
    "cupy.asarray": "cupy.ndarray",
    "cupy.from_dlpack": "cupy.ndarray",
}
"""The class of what a function returns; a class that is called returns its own."""

THROUGH = frozenset({"_call"})
"""Our functions that call their first argument with the others."""


@dataclass(frozen=True)
class Use:
    """One place in our source that uses ``path``. What is called is given ``positional`` arguments, any number
    more if ``starred``, and ``keywords``."""

    file: str
    line: int
    path: str
    called: bool = False
    positional: int = 0
    keywords: tuple[str, ...] = ()
    starred: bool = False

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.path}"


def uses() -> list[Use]:
    """Every use in the files of :data:`OBJECTS`."""
    return [use for file in OBJECTS for use in uses_in(file, (ROOT / file).read_text())]


def uses_in(file: str, text: str) -> list[Use]:
    """The uses in one file, in the order of its lines."""
    reader = _Reader(file)
    reader.visit(ast.parse(text))
    return sorted(reader.found, key=lambda use: use.line)


def strangers(file: str, text: str) -> list[str]:
    """Parameters of type ``Any`` of a file whose attributes are used, and that :data:`OBJECTS` does not name:
    what they are is not known, and so neither whether that exists."""
    result = []
    for function in ast.walk(ast.parse(text)):
        if not isinstance(function, ast.FunctionDef):
            continue
        parameters = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        opaque = {p.arg for p in parameters if p.annotation is not None and ast.unparse(p.annotation) == "Any"}
        result += [
            f"{file}, line {node.lineno}: {ast.unparse(node)}: tests/proof/contracts/calls.py does not say what "
            f"{node.value.id} is"
            for node in ast.walk(function)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            if node.value.id in opaque - set(OBJECTS[file]) and ast.unparse(node) not in OBJECTS[file]
        ]
    return result


class _Reader(ast.NodeVisitor):
    """Walks a module with the names that stand for something of :data:`PACKAGES`, scope by scope."""

    def __init__(self, file: str) -> None:
        self.file, self.objects = file, OBJECTS[file]
        self.names: dict[str, tuple[str, ...]] = {}
        self.function = ""
        self.found: list[Use] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer = self.names, self.function
        self.names, self.function = dict(self.names), node.name
        self.generic_visit(node)
        self.names, self.function = outer

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) != "TYPE_CHECKING":
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name.split(".")[0] in PACKAGES:
                self._note(Use(self.file, node.lineno, alias.name))
                self.names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0],
                )

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module and node.module.split(".")[0] in PACKAGES:
            for alias in node.names:
                path = f"{node.module}.{alias.name}"
                self._note(Use(self.file, node.lineno, path))
                self.names[alias.asname or alias.name] = (path,)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        paths = self.resolve(node.value)
        for target in node.targets:
            if isinstance(target, ast.Name):
                self.names.pop(target.id, None)
                if paths:
                    self.names[target.id] = paths

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        arguments: list[ast.expr] = node.args
        paths = self.resolve(node.func)
        if isinstance(node.func, ast.Name) and node.func.id in THROUGH and arguments:
            paths, arguments = self.resolve(arguments[0]), arguments[1:]
        starred = sum(isinstance(argument, ast.Starred) for argument in arguments)
        keywords = tuple(keyword.arg for keyword in node.keywords if keyword.arg)
        for path in paths:
            self._note(Use(self.file, node.lineno, path, True, len(arguments) - starred, keywords, bool(starred)))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        for path in {*self.resolve(node), *self._attribute(node)}:
            self._note(Use(self.file, node.lineno, path))

    def resolve(self, node: ast.expr) -> tuple[str, ...]:
        """What of the packages an expression stands for; more than one thing where it depends."""
        text = ast.unparse(node)
        declared = self.objects.get(f"{self.function}: {text}", self.objects.get(text))
        if declared:
            return (declared,)
        match node:
            case ast.Name():
                return self.names.get(node.id, ())
            case ast.Attribute():
                return self._attribute(node)
            case ast.IfExp():
                return self.resolve(node.body) + self.resolve(node.orelse)
            case ast.Call(func=ast.Name("import_rapids")):
                return ("",)  # its attributes are the packages
            case ast.Call():
                return tuple(result for path in self.resolve(node.func) if (result := returned(path)))
        return ()

    def _attribute(self, node: ast.Attribute) -> tuple[str, ...]:
        bases = [base for base in self.resolve(node.value) if not base.endswith("__version__")]  # a str
        return tuple(f"{base}.{node.attr}".lstrip(".") for base in bases)

    def _note(self, use: Use) -> None:
        if use.path and use not in self.found:
            self.found.append(use)


def returned(path: str) -> str | None:
    """The class of what a call of ``path`` gives: its own, if its name is a class's."""
    if path in RETURNS:
        return RETURNS[path]
    return path if path.rpartition(".")[2][:1].isupper() else None
