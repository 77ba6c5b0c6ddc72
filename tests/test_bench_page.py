"""The report in a real browser: nothing overlaps, nothing is cut off, nothing is loaded from outside.

Needs a Chromium on the path: ``make page`` installs one where it can, and runs this.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from itertools import pairwise
from typing import Any

import pytest

from gpuspark.bench import history
from gpuspark.bench.html_page import page
from gpuspark.bench.results import load

pytestmark = pytest.mark.browser

LOOK = """
<script>
const box = e => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom] };
const shown = e => { const r = e.getBoundingClientRect(); return r.width > 0 && r.height > 0 };
const layout = {
  width: document.documentElement.clientWidth,
  blocks: [...document.body.children].filter(e => e.tagName != "SCRIPT" && shown(e)).map(box),
  cells: [...document.querySelectorAll("td, th")].map(e => [e.scrollWidth, e.clientWidth]),
  drawings: [...document.querySelectorAll("svg")].map(svg => ({
    box: box(svg), texts: [...svg.querySelectorAll("text")].filter(shown).map(box)
  })),
  requests: performance.getEntriesByType("resource").map(e => e.name),
};
const pre = document.createElement("pre");
pre.id = "layout";
pre.textContent = JSON.stringify(layout);
document.body.append(pre);
</script>
</body>"""


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The layout of the committed records' page in Chromium, in pixels."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, "no Chromium on the path: `make page` installs one on Debian and Ubuntu"
    folder = tmp_path_factory.mktemp("page")
    limits = json.loads((history.HISTORY / "limits.json").read_text())
    text = page(load(history.HISTORY / "records.jsonl"), limits)
    (folder / "report.html").write_text(text.replace("</body>", LOOK))
    done = subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile",
            "--window-size=1280,1000", "--virtual-time-budget=5000", "--dump-dom", f"file://{folder}/report.html",
        ],
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    measured = re.search(r'<pre id="layout">(.*?)</pre>', done.stdout, re.DOTALL)
    assert measured, done.stderr[-2000:]
    return json.loads(measured[1].replace("&amp;", "&"))


def overlap(a: list[float], b: list[float]) -> float:
    """Returns the area that two boxes share, relative to the smaller box."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return width * height / smaller if width > 0 and height > 0 else 0.0


def test_blocks_follow_each_other_within_the_window(layout: Any) -> None:
    blocks = layout["blocks"]
    assert len(blocks) > 20
    for above, below in pairwise(blocks):
        assert above[3] <= below[1] + 0.5
    assert all(left >= 0 and right <= layout["width"] for left, _, right, _ in blocks)


def test_no_cell_is_cut_off(layout: Any) -> None:
    assert len(layout["cells"]) > 100
    assert all(needed <= available for needed, available in layout["cells"])


def test_no_text_of_a_plot_overlaps_another_or_lies_outside(layout: Any) -> None:
    assert len(layout["drawings"]) > 10
    for drawing in layout["drawings"]:
        left, top, right, bottom = drawing["box"]
        texts = drawing["texts"]
        assert len(texts) > 3
        for index, text in enumerate(texts):
            assert left - 1 <= text[0] < text[2] <= right + 1, (text, drawing["box"])
            assert top - 1 <= text[1] < text[3] <= bottom + 1, (text, drawing["box"])
            assert all(overlap(text, other) < 0.25 for other in texts[index + 1 :]), (text, texts)


def test_nothing_is_loaded_from_outside(layout: Any) -> None:
    assert layout["requests"] == []
