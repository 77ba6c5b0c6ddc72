"""``python -m tests.proof.uncovered``: the lines of the CUDA device that no test executes, each with its text.

Measured by coverage while the tests of the stub driver run (and those that assemble programs, since that needs no
driver), scenes and other processes included. What stands in the list has never run anywhere. ``make evidence`` prints
it; a line is executed, which is not to say that its result was looked at.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = tuple(f"gpuspark/devices/{name}.py" for name in ("cuda", "cuda_errors", "discover", "nvjitlink", "permits"))
TESTS = (
    "tests/test_cuda.py",
    "tests/test_cuda_suite.py",
    "tests/test_discover.py",
    "tests/test_permits.py",
    "tests/test_check.py",
)


class Measurement:
    """Of ``files``, given from ``root``, over any number of runs of :meth:`command`; its data lies in ``folder``."""

    def __init__(self, folder: Path, files: Sequence[str] = FILES, root: Path = ROOT) -> None:
        self._files = [root / name for name in files]
        self._root = root
        self._settings = folder / "coverage.ini"
        listed = "\n    ".join(map(str, self._files))
        self._settings.write_text(
            f"[run]\ninclude =\n    {listed}\nparallel = true\ndata_file = {folder / 'data'}\n"
            "patch =\n    subprocess\n    fork\n    _exit\n"  # processes of every kind, however they end
        )

    @property
    def command(self) -> list[str]:
        """What stands before pytest's arguments."""
        return [sys.executable, "-m", "coverage", "run", f"--rcfile={self._settings}", "-m", "pytest"]

    def report(self) -> str:
        """How many lines there are that were not executed, and each of them."""
        from coverage import Coverage  # which a GPU node lacks

        measured = Coverage(config_file=str(self._settings))
        measured.combine(keep=True)
        total, missed = 0, []
        for file in self._files:
            _, statements, _, missing, _ = measured.analysis2(str(file))
            total += len(statements)
            missed += list(self._lines(file, missing))
        head = f"{len(missed)} of {total} lines of the CUDA device were executed by no test{':' if missed else ''}"
        return "\n".join([head, *missed])

    def _lines(self, file: Path, numbers: Sequence[int]) -> Iterator[str]:
        text = file.read_text().splitlines()
        for number in numbers:
            yield f"  {file.relative_to(self._root)}:{number}: {text[number - 1].strip()}"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        measurement = Measurement(Path(folder))
        done = subprocess.run([*measurement.command, "-q", *TESTS], cwd=ROOT, check=False)
        print(measurement.report())
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
