"""Every program is assembled for every architecture; the committed table is what the tools say today."""

from __future__ import annotations

import pytest

from tests.machine_code import ARCHITECTURES, PAGE, Row, made_with, page, rows

MOST_REGISTERS = 64
"""More would leave fewer than 1,024 threads on a multiprocessor of 65,536 registers."""


@pytest.fixture(scope="module")
def found() -> list[Row]:
    return rows()


def test_nothing_is_spilled_and_registers_stay_under_the_cap(found) -> None:
    for row in found:
        for arch in ARCHITECTURES:
            taken = row.resources[arch]
            assert (taken.spilled, taken.shared) == (0, 0), (row.name, arch)
            assert 0 < taken.registers <= MOST_REGISTERS, (row.name, arch)


def test_each_column_is_loaded_at_its_own_width(found) -> None:
    """An 8-byte column by 64-bit loads; a result and a status byte are stored."""
    row = next(row for row in found if row.name == "smaller_and_larger")
    assert row.types == ("double", "double")
    assert row.loads == {"LDG.64": 2, "STG.64": 1, "STG.8": 1}


def test_the_page_is_what_the_tools_say(found) -> None:
    """Other versions of the tools may use other registers: then the page holds for those that it names."""
    text = PAGE.read_text()
    assert [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")][1:] == [
        r.name for r in found
    ]
    if f"Made with: {made_with()}\n" in text:
        assert text == page([row.line() for row in found])
