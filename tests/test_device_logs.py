"""What README and the evidence say of a GPU is what the logs in ``docs/device`` say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.pages import section, table

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LOGS = {file.stem: file.read_text() for file in (DOCS / "device").glob("*.log")}
AGAINST = {
    "top_k_of_10000_for_100000": "pandas_udf with NumPy",
    "top_k_of_10000": "pandas_udf with NumPy",
    "jaccard": "pandas_udf with sets",
    "asian_option": "pandas_udf with NumPy",
    "tree_ensemble": "pandas_udf with predict",
    "levenshtein": "mapInArrow with rapidfuzz",
    "scalar_heavy": "pandas_udf with NumPy",
}


def passed(log: str) -> str:
    """Returns how many tests passed by a log, in which none may have failed."""
    (line,) = re.findall(r"^\d+ (?:passed|failed).*", LOGS[log], re.M)
    assert " failed" not in line
    return str(line.split()[0])


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "evidence.md"], ids=lambda page: page.name)
def test_the_summary_says_what_the_logs_say(page: Path) -> None:
    """Which GPU and driver, and how many tests passed."""
    (gpu,) = re.findall(r"'ordinal': 0, 'name': 'NVIDIA ([^']+)'", LOGS["facts"])
    (driver,) = re.findall(r"Driver Version: ([\d.]+)", LOGS["facts"])
    suite = dict(re.findall(r"^passed +[\d.]+ s  (.+): (\d+) tests passed, 0 failed$", LOGS["device-suite"], re.M))
    (bodies,) = re.findall(r"^(\d+) bodies: .*, 0 different$", LOGS["meaning"], re.M)
    claims = [
        f"an NVIDIA {gpu} (driver {driver}",
        f"the CUDA module's {suite['the CUDA module']} tests",
        f"{suite['the behaviour suite']} of behaviour",
        f"{suite['generated batches']} of generated batches",
        f"{suite['RAPIDS and batch bodies']} with cuDF",
        f"{passed('tests')} behaviour tests",
        f"{passed('spark')} inside Spark",
        f"none of {bodies} bodies on cuDF gave another answer than pandas",
    ]
    assert ", 0 failed, " in LOGS["device-suite"].splitlines()[-1]
    assert "0 cases differ or failed" in LOGS["kernels"]
    assert "ERROR SUMMARY: 0 errors" in LOGS["sanitize"]
    assert "0 hazards" in LOGS["races"]
    paragraph = page.read_text().partition("**Verified on device: on one GPU.**")[2].partition("\n\n")[0]
    assert [claim for claim in claims if claim not in " ".join(paragraph.split())] == []


def test_the_table_of_what_a_gpu_bought_is_that_of_the_reports() -> None:
    rows = []
    for case, other in AGAINST.items():
        cuda, cpu = (_of_report(device, case, other) for device in ("cuda", "cpu"))
        rows.append([f"`{case}`", cuda[0], cpu[0], other, cuda[1], cpu[1]])
    head = ["case", "on the GPU, seconds", "on the CPU, seconds", "against", "GPU: times as long", "CPU: times as long"]
    section(ROOT / "README.md", "gpu", table(head, rows))


def test_where_the_time_of_a_kernel_goes_is_that_of_the_log() -> None:
    """Of ten million option values, in milliseconds."""
    rows = re.findall(r"^(scalar_heavy(?:, 1024 MiB a run)?) +10,000,000 +\d+ +(.*)$", LOGS["kernels"], re.M)
    ours, long_runs = ([float(cell) for cell in cells.split()[:6]] for _, cells in rows)
    wall, copy_in, _, copy_out, _, kernel = ours
    text = " ".join((DOCS / "evidence.md").read_text().split())
    assert f"took {wall:.0f} ms: the GPU computed for {kernel:.1f} ms of them" in text
    assert f"the copies in took {copy_in:.0f} and those out {copy_out:.0f}." in text
    assert f"they took {long_runs[0]:.0f} ms" in text


def test_what_light_functions_wait_is_that_of_the_records() -> None:
    records = map(json.loads, (DOCS / "device" / "verdicts-cuda.jsonl").read_text().splitlines())
    (phases,) = (r["phases"] for r in records if (r["case"], r["path"]) == ("scalar_heavy", "gpuspark"))
    copied = phases["copy_in"] + phases["copy_out"]
    claim = f"waited {phases['wait']:.1f} s for it, copied for {copied:.1f} s and computed for {phases['run']:.2f} s"
    assert claim in " ".join((ROOT / "README.md").read_text().split())


def _of_report(device: str, case: str, other: str) -> tuple[str, str]:
    """Returns gpuspark's seconds on a device, and how many times as long another path took."""
    report = (DOCS / "device" / f"verdicts-{device}.md").read_text()
    paths = report.partition(f"\n### {case}\n")[2].partition("\n### ")[0]
    cells = {row[0]: row for row in ([c.strip() for c in line.split("|")[1:-1]] for line in paths.splitlines()) if row}
    assert cells["gpuspark"][4] == device
    noisy = "too noisy to compare" in paths
    return cells["gpuspark"][1], "too noisy" if noisy else cells[other][3]
