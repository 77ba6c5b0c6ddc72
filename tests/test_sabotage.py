"""Each planned break still fits the text that it would break. ``make sabotage`` does break it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proof.sabotage.breaks import BREAKS, Break

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("planned", BREAKS, ids=lambda planned: f"{planned.room}: {planned.what}")
def test_a_break_fits_its_file_in_one_place(planned: Break) -> None:
    text = (ROOT / planned.file).read_text()
    assert text.count(planned.old) == 1
    assert text.replace(planned.old, planned.new) != text


@pytest.mark.parametrize("planned", BREAKS, ids=lambda planned: f"{planned.room}: {planned.what}")
def test_its_tests_exist(planned: Break) -> None:
    assert [name for name in planned.tests.split() if not (ROOT / name).is_file()] == []
