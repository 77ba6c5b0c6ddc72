"""``python -m tests.proof.sabotage [room ...]``: makes each break in a copy of the repository, and runs its tests.

Two copies are worked on at a time.

Ends with exit code 1 where a break went unseen, or did not come to its tests.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

from tests.proof.sabotage.breaks import BREAKS, Break

ROOT = Path(__file__).parents[3]
FAILED = 1  # pytest's exit code where tests failed; others mean that it did not come so far, or died of a signal

COPIES = 2
PATIENCE = 900
"""Seconds for the tests of one break. Tests that hang tell nothing: the test must end by itself."""


def copy(folder: Path) -> None:
    """The working tree as git sees it: tracked files, and new ones that it does not ignore."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0"):
        source, target = ROOT / name, folder / name
        if name and os.path.lexists(source):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)


def seen(planned: Break, folder: Path) -> tuple[bool, str]:
    """Whether a test failed, and pytest's last words."""
    file = folder / planned.file
    text = file.read_text()
    file.write_text(text.replace(planned.old, planned.new))
    try:
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *planned.tests.split()]
        place = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            command, cwd=folder, env=os.environ | place, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        return False, f"no word after {PATIENCE} s"
    finally:
        file.write_text(text)
    told = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if done.returncode < 0:  # the code under test took the process with it: no test passed either
        told = [f"the tests died of {signal.Signals(-done.returncode).name}"]
    return done.returncode == FAILED or done.returncode < 0, (told or (done.stdout + done.stderr).splitlines() or [""])[
        -1
    ]


def check_tests_load(chosen: list[Break]) -> None:
    """Ends the program where a file of tests does not load as it stands: each break in it would seem to be seen."""
    files = sorted({name for planned in chosen for name in planned.tests.split()})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the tests do not load:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def main(rooms: list[str]) -> int:
    unknown = set(rooms) - {planned.room for planned in BREAKS}
    if unknown:
        raise SystemExit(f"no rooms: {', '.join(unknown)}. There are: {', '.join(sorted({b.room for b in BREAKS}))}")
    chosen = [planned for planned in BREAKS if not rooms or planned.room in rooms]
    check_tests_load(chosen)
    free_copies: Queue[Path] = Queue()

    def is_seen(planned: Break) -> bool:
        folder = free_copies.get()
        start = time.perf_counter()
        noticed, told = seen(planned, folder)
        free_copies.put(folder)
        verdict = "seen  " if noticed else "UNSEEN"
        line = f"{verdict} {time.perf_counter() - start:5.1f} s  {planned.room}: {planned.what}"
        print(f"{line}\n       {told[:140]}", flush=True)
        return noticed

    with tempfile.TemporaryDirectory() as above, ThreadPoolExecutor(COPIES) as threads:
        for number in range(COPIES):
            folder = Path(above, str(number))
            copy(folder)
            free_copies.put(folder)
        unseen = list(threads.map(is_seen, chosen)).count(False)
    print(f"{len(chosen)} breaks, {unseen} unseen")
    return 1 if unseen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
