"""Planted errors: the named checker detects each wrong kernel, and no checker reports its correct twin."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gpuspark.devices.emulator.interpreter import launch
from gpuspark.devices.emulator.memory import AddressSpace
from gpuspark.devices.emulator.parser import parse
from gpuspark.devices.emulator.program import Program
from gpuspark.errors import DeviceFault
from tests.proof.seeded.bugs import BUGS, HEAD, VALUES, Bug
from tests.support.cuda_c import ptx_of

ROWS, THREADS = 100, 64
X: NDArray[Any] = np.random.default_rng(0).uniform(1, 2, ROWS).astype(np.float32)
VALID = np.unpackbits(X.view(np.uint8), bitorder="little")[:ROWS]
EXPECTED = {"swapped operands": X - 1, "the wrong validity bit": np.where(VALID == 1, X, 0)}
PAGE = Path(__file__).parents[1] / "docs" / "seeded-bugs.md"


def run(bug: Bug, replacement: str) -> NDArray[np.float32]:
    """Returns the output of the kernel with ``replacement`` at ``{here}``."""
    source = f"{HEAD}    {bug.source.replace('{here}', replacement)}\n}}\n"
    memory = AddressSpace(1 << 20)
    x, out = memory.put(X.view(np.uint8), "an input"), memory.allocate(X.nbytes, "an output")
    blocks = -(-ROWS // THREADS)
    words = [x.address, out.address, ROWS]
    program = Program(parse(ptx_of(source)), memory)
    launch(program, "kernel", (blocks, 1, 1), (THREADS, 1, 1), words, shared_bytes=4 * THREADS, most_steps=20_000)
    return out.data[: X.nbytes].view(np.float32).copy()


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_error_is_caught_where_it_is(bug: Bug) -> None:
    if bug.checker == VALUES:
        assert not np.array_equal(run(bug, bug.wrong), EXPECTED[bug.name])
        return
    with pytest.raises(
        DeviceFault, match=rf"(?s)^kernel: .*{bug.message}.*at PTX line \d+ \(.*kernels\.cu:\d+\), in block"
    ) as caught:
        run(bug, bug.wrong)
    assert caught.value.checker == bug.checker


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_its_twin_is_not_blamed(bug: Bug) -> None:
    result = run(bug, bug.right)
    if bug.checker == VALUES:
        np.testing.assert_array_equal(result, EXPECTED[bug.name])


def test_there_are_at_least_thirty_of_distinct_kinds() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 30
    assert len({(bug.source, bug.wrong) for bug in BUGS}) == len(BUGS)


def test_the_page_lists_them() -> None:
    """``docs/seeded-bugs.md`` has one line for each planted error, as this test spells it."""
    lines = [f"| {bug.name} | {bug.checker} | `{one_line(bug.wrong)}` | `{one_line(bug.right)}` |" for bug in BUGS]
    assert lines == [line for line in PAGE.read_text().splitlines() if re.match(r"\| (?!planted|---)", line)]


def one_line(text: str) -> str:
    return text.replace("|", "\\|") or " "
