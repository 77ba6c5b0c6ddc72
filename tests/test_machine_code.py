"""Every program is assembled for every architecture; the committed table is what the tools say today.

`make evidence` holds this for CUDA 12, `make toolchains` for CUDA 13; `make test` only that every row is a program's.
"""

from __future__ import annotations

import pytest

from tests.proof.machine_code import (
    ARCHITECTURES,
    TOOLS,
    Row,
    architectures,
    committed,
    made_with,
    names,
    rows,
    section,
    tool_kit,
)

MOST_REGISTERS = 64
"""More would leave fewer than 1,024 threads on a multiprocessor of 65,536 registers."""


def most_registers(name: str) -> int:
    """Array functions, which loop, may take more: there is room for 384 threads of 168 registers."""
    return 168 if ": " in name else MOST_REGISTERS


@pytest.fixture(scope="module")
def result() -> list[Row]:
    return rows()


@pytest.mark.long
def test_nothing_is_spilled_and_registers_stay_under_the_cap(result) -> None:
    for row in result:
        for arch in architectures():
            taken = row.resources[arch]
            assert (taken.spilled, taken.shared) == (0, 0), (row.name, arch)
            assert 0 < taken.registers <= most_registers(row.name), (row.name, arch)


@pytest.mark.long
def test_each_column_is_loaded_at_its_own_width(result) -> None:
    """An 8-byte column by 64-bit loads; a result and a status byte are stored."""
    row = next(row for row in result if row.name == "smaller_and_larger")
    assert row.types == ("double", "double")
    assert row.loads == {"LDG.64": 2, "STG.64": 1, "STG.8": 1}


@pytest.mark.long
def test_the_page_is_what_the_tools_say(result) -> None:
    """Other versions of the tools may use other registers: then the page holds for those that it names."""
    text = committed(f"CUDA {tool_kit()}")
    if f"Made with: {made_with()}\n" in text:
        assert text == section([row.line() for row in result])


@pytest.mark.long
def test_the_page_holds_every_program() -> None:
    """A new kernel's too: after `python -m tests.proof.machine_code`."""
    assert [row[0] for row in _cells(tool_kit())] == names()


@pytest.mark.parametrize("kit", TOOLS)
def test_each_tool_kits_table_names_programs_that_there_are(kit: str) -> None:
    """Of the other tool kit too, whose registers only its own environment can compare."""
    named = _cells(kit)
    listed = [row[0] for row in named]
    assert [name for name in names() if name in listed] == listed
    for row in named:
        registers = dict(zip(ARCHITECTURES, row[2:6], strict=True))
        assert [arch for arch, word in registers.items() if word == "-"] == ([] if kit == "12" else ["70"])
        assert all(0 < int(word) <= most_registers(row[0]) for word in registers.values() if word != "-")
        assert row[6] == "0"


def _cells(kit: str) -> list[tuple[str, ...]]:
    """Returns the rows of the tool kit's table."""
    return [tuple(cell.strip() for cell in line.split("|")[1:]) for line in _table(committed(f"CUDA {kit}"))]


def _table(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| ")][1:]
