"""The report in a real browser: nothing lies over anything else, nothing is cut off, nothing is asked for.

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
from gpuspark.bench.report import page
from gpuspark.bench.results import load

pytestmark = pytest.mark.browser

LOOK = """
<script>
const box = e => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom] };
const shown = e => { const r = e.getBoundingClientRect(); return r.width > 0 && r.height > 0 };
const found = {
  width: document.documentElement.clientWidth,
  blocks: [...document.body.children].filter(e => e.tagName != "SCRIPT" && shown(e)).map(box),
  cells: [...document.querySelectorAll("td, th")].map(e => [e.scrollWidth, e.clientWidth]),
  drawings: [...document.querySelectorAll("svg")].map(svg => ({
    box: box(svg), texts: [...svg.querySelectorAll("text")].filter(shown).map(box)
  })),
  requests: performance.getEntriesByType("resource").map(e => e.name),
};
const told = document.createElement("pre");
told.id = "found";
told.textContent = JSON.stringify(found);
document.body.append(told);
</script>
</body>"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What Chromium makes of the page of the committed records: places in pixels."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, "there is no Chromium on the path: `make page` installs one on Debian and Ubuntu"
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
    told = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert told, done.stderr[-2000:]
    return json.loads(told[1].replace("&amp;", "&"))


def overlap(one: list[float], other: list[float]) -> float:
    """The area that two boxes share, of the smaller one."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    smaller = min((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other))
    return width * height / smaller if width > 0 and height > 0 else 0.0


def test_blocks_follow_each_other_within_the_window(found: Any) -> None:
    blocks = found["blocks"]
    assert len(blocks) > 20
    for above, below in pairwise(blocks):
        assert above[3] <= below[1] + 0.5
    assert all(left >= 0 and right <= found["width"] for left, _, right, _ in blocks)


def test_no_cell_is_cut_off(found: Any) -> None:
    assert len(found["cells"]) > 100
    assert all(needed <= given for needed, given in found["cells"])


def test_no_word_of_a_drawing_lies_over_another_or_outside(found: Any) -> None:
    assert len(found["drawings"]) > 10
    for drawing in found["drawings"]:
        left, top, right, bottom = drawing["box"]
        texts = drawing["texts"]
        assert len(texts) > 3
        for place, one in enumerate(texts):
            assert left - 1 <= one[0] < one[2] <= right + 1, (one, drawing["box"])
            assert top - 1 <= one[1] < one[3] <= bottom + 1, (one, drawing["box"])
            assert all(overlap(one, other) < 0.25 for other in texts[place + 1 :]), (one, texts)


def test_nothing_is_asked_for_from_outside(found: Any) -> None:
    assert found["requests"] == []
