"""Permits to use a device: file locks that processes share, counted per device."""

from __future__ import annotations

import select
import shutil
import stat
import subprocess
import sys
import threading

import pytest

from gpuspark.config import Config
from gpuspark.devices import open_device
from gpuspark.devices.permits import permit

HOLDS = """
import sys
from gpuspark.devices.permits import permit
with permit(sys.argv[1], 1):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path, monkeypatch):
    """Starts another process that holds the only permit of a device until its input ends."""
    monkeypatch.setenv("GPUSPARK_CACHE_DIR", str(tmp_path / "cache"))
    started = []

    def start(device: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDS, device], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_the_permit_of_a_process_that_dies_comes_back(holder) -> None:
    other = holder("gpu-1")
    with permit("gpu-2", 1) as waited:  # another device has permits of its own
        assert waited < 60
    with permit("gpu-1", 2):  # and a second permit is free
        pass
    other.kill()
    other.wait()
    with permit("gpu-1", 1):
        pass


def test_a_process_waits_for_a_permit(holder) -> None:
    other = holder("gpu-1")
    waiting = subprocess.Popen(
        [sys.executable, "-c", HOLDS, "gpu-1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert waiting.stdout
    silent, _, _ = select.select([waiting.stdout], [], [], 2)
    assert silent == []
    other.communicate("")
    assert waiting.stdout.readline() == "held\n"
    waiting.communicate("")


def test_a_folder_that_is_deleted_comes_back_private(tmp_path, monkeypatch) -> None:
    """A long-lived worker outlives a cleaned cache; others must not be able to write what it makes anew."""
    monkeypatch.setenv("GPUSPARK_CACHE_DIR", str(tmp_path / "cache"))
    for _ in range(2):
        with permit("gpu-4", 1):
            for folder in (tmp_path / "cache", tmp_path / "cache" / "permits"):
                assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        shutil.rmtree(tmp_path / "cache")


def test_the_cpu_needs_none() -> None:
    device = open_device("cpu", Config())
    with device.turn(1) as first_wait, device.turn(1) as second_wait:
        assert (first_wait, second_wait) == (0.0, 0.0)


def test_a_process_that_holds_a_permit_does_not_wait_for_a_second(holder) -> None:
    """A batch body that holds the GPU may call a compiled function; afterwards others wait as before."""
    waited = []

    def body() -> None:
        with permit("gpu-3", 1), permit("gpu-3", 1) as seconds:
            waited.append(seconds)

    thread = threading.Thread(target=body, daemon=True)  # a process that waited for itself would wait for ever
    thread.start()
    thread.join(60)
    assert waited == [0.0]
    thread.join()
    other = holder("gpu-3")
    assert other.poll() is None
