"""Discovery: each device is present with its facts, or absent for a reason that says what to do."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from stub_driver import Stage, detection_scenes, open_stage

from gpuspark.devices import discover
from gpuspark.devices.discover import Capability, Presence


@pytest.fixture
def stage() -> Stage:
    return open_stage()


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Discards the cached result of this process."""
    monkeypatch.setattr(discover, "_discovered", {})


@pytest.mark.parametrize(
    "scene",
    [
        detection_scenes.discovery_is_remembered,
        detection_scenes.discovery_is_not_remembered_across_a_fork,
        detection_scenes.a_busy_driver_is_asked_again,
        detection_scenes.a_limited_address_space_is_a_reason,
    ],
    ids=lambda scene: str(scene.__name__),
)
def test_cuda(stage: Stage, tmp_path: Path, scene: Callable[[], None]) -> None:
    stage.play(scene, STUB_LOG=str(tmp_path / "calls"))


@pytest.mark.parametrize("module", ["cuda.core", "cuda.bindings"])
def test_missing_packages(stage: Stage, module: str) -> None:
    stage.play(detection_scenes.missing_packages_are_a_reason, module)


@pytest.mark.usefixtures("empty_cache")
def test_the_other_devices() -> None:
    capability = discover.discover()
    assert capability.python == Presence({"version": platform.python_version()})
    assert capability.cpu == Presence({"cores": os.cpu_count(), "machine": platform.machine()})
    assert capability.emulated.present
    assert not {"cpu", "emulated", "python"} & set(capability.absent())


@pytest.mark.parametrize(
    ("module", "absent", "command"),
    [
        ("numba", {"cpu"}, "pip install gpuspark"),
        ("numba_cuda", {"cuda", "emulated"}, r"pip install gpuspark\[cuda12\]"),
    ],
)
@pytest.mark.usefixtures("empty_cache")
def test_a_missing_compiler(monkeypatch: pytest.MonkeyPatch, module: str, absent: set[str], command: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else find(name))
    reasons = discover.discover().absent()
    named = {name for name, reason in reasons.items() if re.search(f"is not installed.*{command}$", reason)}
    assert named == absent


def test_it_prints_readably() -> None:
    capability = Capability(
        cuda=Presence(reason="there is no NVIDIA driver on this machine"),
        emulated=Presence({"runs": "PTX"}),
        cpu=Presence({"cores": 2}),
        python=Presence(),
    )
    assert str(capability).splitlines() == [
        "cuda      not here: there is no NVIDIA driver on this machine",
        "emulated  {'runs': 'PTX'}",
        "cpu       {'cores': 2}",
        "python    {}",
    ]
    assert capability.absent() == {"cuda": "there is no NVIDIA driver on this machine"}
