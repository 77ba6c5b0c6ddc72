"""The parts of the documentation's pages that tests write, and otherwise compare."""

from __future__ import annotations

import os
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def section(page: Path, name: str, content: str) -> None:
    """Holds what stands between ``<!-- name -->`` and ``<!-- /name -->`` against ``content``, or writes it."""
    text = page.read_text()
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.S)
    new = pattern.sub(lambda m: f"{m[1]}{content}\n{m[2]}", text)
    assert pattern.search(text), f"{page.name} has no section {name}"
    if os.environ.get("GPUSPARK_WRITE_DOCS"):
        page.write_text(new)
    assert page.read_text() == new, f"write {page.name} anew: run this test with GPUSPARK_WRITE_DOCS=1"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Returns a table in Markdown."""
    lines = [f"| {' | '.join(cells)} |" for cells in [head, *rows]]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])
