"""A capsule: one batch that failed, in one file, with what it takes to run it again without Spark.

It is a zip archive of three entries::

    manifest.json    what failed and how: names, types, flags, versions, the function's text, the error
    batch.arrow      the columns as an Arrow IPC stream of one batch; it holds the user's data
    function.pickle  the function, pickled by cloudpickle

:func:`read` looks at the first two, which are data. Only :func:`function_of` unpickles, and a pickle may run
anything: whoever calls it must have asked the user before. Arrow's IPC writes a slice as if it began at its
first row, so the manifest keeps each column's offset, and :func:`placed` gives it back.
"""

from __future__ import annotations

import importlib
import inspect
import io
import json
import os
import pickle
import platform
import re
import sys
import time
import uuid
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuspark.compiler import CannotCompile
from gpuspark.compiler.source import read as read_source
from gpuspark.config import OFF, Config
from gpuspark.errors import CapsuleError, ConfigError, DeviceError, FallbackError, VerificationError
from gpuspark.execution.scalar import ScalarFunction
from gpuspark.versions import installed

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
SUFFIX = ".capsule"
_MANIFEST, _BATCH, _FUNCTION = "manifest.json", "batch.arrow", "function.pickle"
_PACKAGES = ("gpuspark", "pyspark", "pyarrow", "numpy", "numba", "llvmlite", "numba-cuda")
_SHAPES: dict[str, tuple[type, ...]] = {
    "str": (str,), "int": (int,), "list[str]": (list,), "list[int]": (list,), "dict[str, str]": (dict,),
}  # fmt: skip


@dataclass(frozen=True)
class Manifest:
    """What a capsule says of itself. Lists go by the function's columns."""

    format: int
    kind: str
    """``mismatch``: a device and Python differed. ``fault``: a device failed. ``error``: the body raised."""
    error: str
    """The error's type and text."""
    function: str
    source: str
    """The body's text; empty where the worker could not find it."""
    portable: str
    """What is compiled for devices, or why it is not."""
    columns: list[str]
    types: list[str]
    """Arrow's."""
    nulls: list[int]
    offsets: list[int]
    """Where each column began in its Arrow buffers: 0 but for slices."""
    rows: list[int]
    """Each row's number in its task."""
    null_rule: str
    result: str
    device: str
    flags: dict[str, str]
    """The session flag of the task."""
    time_zone: str
    versions: dict[str, str]

    @property
    def config(self) -> Config:
        """The session flag, with nothing that belongs to its session's machine."""
        return replace(Config.from_mapping(self.flags), capsule_folder=OFF, verify_fraction=0.0, ledger=False)


@dataclass(frozen=True)
class Capsule:
    """A capsule in memory. ``function`` is a pickle: see :func:`function_of`."""

    manifest: Manifest
    batch: pa.RecordBatch
    function: bytes

    def take(self, places: Sequence[int]) -> Capsule:
        """The capsule with the rows at ``places`` only."""
        import pyarrow as pa

        batch = self.batch.take(pa.array(places, pa.int64()))
        rows = [self.manifest.rows[place] for place in places]
        nulls = [column.null_count for column in batch.columns]
        return Capsule(replace(self.manifest, rows=rows, nulls=nulls), batch, self.function)


def seal(
    error: BaseException,
    function: ScalarFunction,
    columns: Sequence[pa.Array],
    *,
    device: str,
    config: Config,
    first_row: int,
) -> Capsule:
    """A capsule of the batch ``columns``, whose first row is the task's row ``first_row``.

    Raises what pickling ``function`` raises.
    """
    import pyarrow as pa

    portable = function.body.text if function.body else "not compiled: " + "\n".join(function.refusals)
    flags = {f.metadata["key"]: str(getattr(config, f.name)) for f in fields(config)}
    manifest = Manifest(
        format=FORMAT,
        kind=_kind(error),
        error=f"{type(error).__name__}: {error}",
        function=function.name,
        source=_source(function),
        portable=portable,
        columns=list(function.columns),
        types=[str(column.type) for column in columns],
        nulls=[column.null_count for column in columns],
        offsets=[column.offset for column in columns],
        rows=list(range(first_row, first_row + len(columns[0]))),
        null_rule=function.nulls,
        result=str(function.result),
        device=device,
        flags=flags,
        time_zone="/".join(time.tzname),
        versions=versions(),
    )
    return Capsule(manifest, pa.RecordBatch.from_arrays(list(columns), list(function.columns)), _pickled(function))


def _kind(error: BaseException) -> str:
    if isinstance(error, VerificationError):
        return "mismatch"
    return "fault" if isinstance(error, DeviceError | FallbackError) else "error"


def _source(function: ScalarFunction) -> str:
    try:
        read_source(function.function)  # verifies that the file is still the one that Python loaded
        return inspect.getsource(function.function)
    except (CannotCompile, OSError, TypeError):
        return ""


def _pickled(function: ScalarFunction) -> bytes:
    """By value where that can be, also what stands in modules that only the cluster has."""
    cloudpickle: Any = importlib.import_module("pyspark.cloudpickle")
    name = getattr(function.function, "__module__", None) or ""
    module = sys.modules.get(name)
    if module is None or name == "__main__" or f"{name}.".startswith("gpuspark."):
        return bytes(cloudpickle.dumps(function))
    cloudpickle.register_pickle_by_value(module)
    try:
        return bytes(cloudpickle.dumps(function))
    except (pickle.PicklingError, TypeError, AttributeError, ValueError, RuntimeError):
        pass  # something else in that module has no value that travels
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    return bytes(cloudpickle.dumps(function))


def versions() -> dict[str, str]:
    """Those that decide what a program does, of this process."""
    return {"python": platform.python_version(), **installed(_PACKAGES)}


def save(capsule: Capsule, folder: Path) -> Path:
    """Writes ``capsule`` into ``folder``, which only its owner may read if it is made here; the file's path.

    Raises ``OSError`` where that cannot be.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = re.sub(r"\W+", "", capsule.manifest.function) or "function"
    path = folder / f"{name}-{uuid.uuid4().hex[:12]}{SUFFIX}"
    write(capsule, path)
    return path


def write(capsule: Capsule, path: Path) -> None:
    """Writes ``capsule`` to the new file ``path``, which only its owner may read.

    Raises ``FileExistsError`` and other ``OSError``.
    """
    import pyarrow as pa

    stream, content = io.BytesIO(), io.BytesIO()
    with pa.ipc.new_stream(stream, capsule.batch.schema) as writer:
        writer.write_batch(capsule.batch)
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_MANIFEST, json.dumps(asdict(capsule.manifest), indent=1))
        archive.writestr(_BATCH, stream.getvalue())
        archive.writestr(_FUNCTION, capsule.function)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content.getbuffer())


def read(path: Path) -> Capsule:
    """The capsule in the file ``path``. Runs nothing that is in it.

    Raises :class:`~gpuspark.errors.CapsuleError` for a file that is no capsule, is broken, or is of another format.
    """
    import pyarrow as pa

    try:
        with zipfile.ZipFile(path) as archive:
            if sorted(archive.namelist()) != sorted((_MANIFEST, _BATCH, _FUNCTION)):
                raise CapsuleError(f"{path} is no capsule: it holds {', '.join(archive.namelist()) or 'nothing'}.")
            manifest = _manifest(path, json.loads(archive.read(_MANIFEST)))
            with pa.ipc.open_stream(archive.read(_BATCH)) as reader:
                batch = reader.read_next_batch()
            batch.validate(full=True)
            function = archive.read(_FUNCTION)
    except OSError as error:
        raise CapsuleError(f"{path} cannot be read: {error.strerror or error}. Check the path.") from None
    except (zipfile.BadZipFile, zlib.error, pa.ArrowException, StopIteration, EOFError, RuntimeError) as error:
        raise CapsuleError(f"{path} is broken, or no capsule: {error}. Copy it anew, as a binary file.") from None
    except UnicodeDecodeError as error:
        raise CapsuleError(f"{path} is broken: {error}. Copy it anew, as a binary file.") from None
    except json.JSONDecodeError as error:
        raise CapsuleError(f"{path} is broken: its manifest is no JSON ({error}).") from None
    found = (batch.schema.names, [str(t) for t in batch.schema.types], [batch.num_rows] * batch.num_columns)
    stated = (manifest.columns, manifest.types, [len(manifest.rows)] * len(manifest.columns))
    if found != stated:
        raise CapsuleError(f"{path} contradicts itself: its manifest has {stated}, its batch {found}.")
    return Capsule(manifest, batch, function)


def _manifest(path: Path, read: Any) -> Manifest:
    if not isinstance(read, dict) or not isinstance(read.get("format"), int):
        raise CapsuleError(f"{path} is no capsule: its manifest has no format.")
    if read["format"] != FORMAT:
        written = read.get("versions")
        by = written.get("gpuspark", "?") if isinstance(written, dict) else "?"
        raise CapsuleError(
            f"{path} has format {read['format']}, written by gpuspark {by}; this is gpuspark "
            f"{version('gpuspark')}, which reads format {FORMAT}. Replay it with the version that wrote it."
        )
    known = {f.name: str(f.type) for f in fields(Manifest)}
    if set(read) != set(known):
        raise CapsuleError(f"{path} is broken: its manifest differs in {', '.join(sorted(set(read) ^ set(known)))}.")
    wrong = [name for name, shape in known.items() if not _fits(read[name], shape)]
    if wrong:
        raise CapsuleError(f"{path} is broken: its manifest's {', '.join(wrong)} cannot be read.")
    manifest = Manifest(**read)
    if not len(manifest.columns) == len(manifest.types) == len(manifest.nulls) == len(manifest.offsets) > 0:
        raise CapsuleError(f"{path} is broken: its manifest does not describe each column.")
    try:
        manifest.config  # noqa: B018
    except ConfigError as error:
        raise CapsuleError(f"{path} was written with flags that are not known here: {error}") from None
    return manifest


def _fits(value: Any, shape: str) -> bool:
    if not isinstance(value, _SHAPES[shape]) or isinstance(value, bool):
        return False
    inner = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    kind = int if shape == "list[int]" else str
    return all(isinstance(item, kind) and not isinstance(item, bool) for item in inner)


def function_of(capsule: Capsule) -> ScalarFunction:
    """The capsule's function. **This runs code that is in the capsule**: ask the user before.

    Raises :class:`~gpuspark.errors.CapsuleError` where it cannot be loaded here.
    """
    there, here = capsule.manifest.versions.get("python", "?"), platform.python_version()
    if there.split(".")[:2] != here.split(".")[:2]:
        raise CapsuleError(
            f"the capsule's function is bytecode of Python {there}, and this is Python {here}. "
            f"Replay it with Python {'.'.join(there.split('.')[:2])}."
        )
    try:
        function = pickle.loads(capsule.function)
    except ImportError as error:
        raise CapsuleError(
            f"the capsule's function needs a module that is not here: {error}. Put it on PYTHONPATH, or install it."
        ) from error
    except (pickle.UnpicklingError, AttributeError, EOFError, IndexError, KeyError, TypeError, ValueError) as error:
        raise CapsuleError(
            f"the capsule's function cannot be loaded: {type(error).__name__}: {error}. Compare the versions."
        ) from error
    if not isinstance(function, ScalarFunction) or list(function.columns) != capsule.manifest.columns:
        raise CapsuleError("the capsule's function is not the one of its manifest. Do not trust this file.")
    return function


def placed(capsule: Capsule) -> list[pa.Array]:
    """The columns at offsets in their buffers as in the task: a fault may lie in how a slice is read. Offsets from
    128 on are made less, and keep their place within 64 rows."""
    import pyarrow as pa

    columns = []
    for column, offset in zip(capsule.batch.columns, capsule.manifest.offsets, strict=True):
        before = offset if offset < 128 else 64 + offset % 64
        if before and len(column):
            filler = column.take(pa.array([0] * before, pa.int64()))
            column = pa.concat_arrays([filler, column]).slice(before)
        columns.append(column)
    return columns
