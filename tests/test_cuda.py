"""The CUDA device, rehearsed on a stand-in for the driver through the real cuda.bindings and cuda-core.

A rehearsal shows which driver calls are made, with which arguments, and what each result leads to. It shows nothing
about speed, asynchrony or the hardware. The tests marked ``device`` make the same checks on a GPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from stub_driver import Stage, detection_scenes, open_stage, scenes

from gpuspark.devices.cuda import CudaDevice, ordinal_of, select
from gpuspark.devices.cuda_errors import CudaUnavailable
from gpuspark.devices.protocol import Device


@pytest.fixture
def stage() -> Stage:
    return open_stage()


@pytest.fixture
def log(tmp_path: Path) -> str:
    return str(tmp_path / "calls")


def named(function: object) -> str:
    """Returns the name of a scene, as the id of its test."""
    return getattr(function, "__name__", "")


# --- starting ------------------------------------------------------------------------------------


def test_nothing_is_called_before_use(stage: Stage, log: str) -> None:
    stage.play(detection_scenes.nothing_is_called_before_use, STUB_LOG=log)


def test_detection_finds_the_devices_and_makes_no_context(stage: Stage, log: str) -> None:
    stage.play(detection_scenes.detection_finds_the_devices_and_makes_no_context, STUB_LOG=log)


@pytest.mark.parametrize(
    ("settings", "code", "reason"),
    [
        ({"STUB_DEVICES": "0"}, 100, "the driver finds no GPU"),
        ({"CUDA_VISIBLE_DEVICES": ""}, 100, "the driver finds no GPU.*CUDA_VISIBLE_DEVICES"),
        ({"STUB_VERSION": "11080"}, 35, r"supports CUDA 11\.8.*Update the driver"),
        ({"STUB_FAIL": "cuInit:1:35"}, 35, "too old for the installed CUDA packages"),
        ({"STUB_FAIL": "cuInit:1:3"}, 3, "before this process was forked"),
        ({"STUB_FAIL": "cuInit:1:34"}, 34, "the tool kit's stub"),
        ({"STUB_FAIL": "cuInit:1:803"}, 803, "of different versions"),
        ({"STUB_FAIL": "cuInit:1:999"}, 999, "the driver does not start.*CUDA_ERROR_UNKNOWN"),
        ({"STUB_FAIL": "cuDeviceGetCount:1:802"}, 802, "not ready to use CUDA"),
        ({"STUB_FAIL": "cuDeviceGetUuid:1:101"}, 101, "does not know this GPU"),
    ],
)
def test_cuda_is_unavailable(stage: Stage, settings: dict[str, str], code: int, reason: str) -> None:
    stage.play(detection_scenes.cuda_is_unavailable, code, reason, **settings)


def test_a_driver_that_cannot_be_loaded_is_no_driver(tmp_path: Path) -> None:
    """The file exists and is not a library, so that the test is the same on a machine with a driver."""
    (tmp_path / "libcuda.so.1").touch()
    code = """
from gpuspark.devices.cuda import CudaUnavailable, detect
try:
    detect()
except CudaUnavailable as error:
    print(error.code, error)"""
    environment = {"LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    assert result.stdout.startswith("None there is no NVIDIA driver on this machine (")


def test_a_busy_gpu_can_be_had_later(stage: Stage) -> None:
    stage.play(detection_scenes.a_busy_gpu_can_be_had_later)


@pytest.mark.parametrize(
    "scene",
    [detection_scenes.a_fork_after_cuda_started_is_a_reason, detection_scenes.a_fork_before_cuda_started_is_fine],
    ids=named,
)
def test_forks(stage: Stage, scene: Callable[[], None]) -> None:
    stage.play(scene)


# --- which device --------------------------------------------------------------------------------

A, B = scenes.UUIDS


@pytest.mark.parametrize(
    ("address", "visible", "uuid"),
    [
        (None, None, A),
        ("0", None, A),
        ("1", None, B),
        (f"GPU-{B}", None, B),
        (f"GPU-{B.upper()}", None, B),
        ("GPU-aabbcc01", None, B),
        (f"MIG-{B}", None, B),
        ("1", "1", B),  # as nvidia-smi counts
        ("0", "1", B),  # as the process counts
        ("0", "1,0", A),
        ("1", "1,0", B),
        (f"GPU-{A}", "1,0", A),
        ("1", f"GPU-{B},GPU-{A}", A),
        (f"GPU-{B}", f"GPU-{B}", B),
        ("0", f"GPU-{B}", B),
        ("0", "0,7,1", A),  # the driver stops at what it does not know
    ],
)
def test_an_address_leads_to_its_device(stage: Stage, address: str | None, visible: str | None, uuid: str) -> None:
    stage.play(
        detection_scenes.selected, address, uuid, **({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    )


@pytest.mark.parametrize("address", ["2", "GPU-ffffffff-0000-0000-0000-000000000000", "gpu", ""])
def test_an_address_of_no_device_is_an_error(stage: Stage, address: str) -> None:
    stage.play(detection_scenes.no_such_address, address)


def test_a_prefix_that_two_devices_share_is_an_error() -> None:
    with pytest.raises(CudaUnavailable, match="names 2 of the GPUs"):
        ordinal_of("GPU-aabb", scenes.UUIDS, None)


def test_the_order_of_the_devices_can_be_chosen(stage: Stage) -> None:
    stage.play(detection_scenes.the_order_of_the_devices_can_be_chosen, CUDA_DEVICE_ORDER="FASTEST_FIRST")


# --- the operations ------------------------------------------------------------------------------


def test_it_is_a_device() -> None:
    operations = [name for name in vars(Device) if not name.startswith("_")]
    assert len(operations) >= 8
    assert [name for name in operations if not hasattr(CudaDevice, name)] == []


@pytest.mark.parametrize("check", scenes.ON_ANY_DEVICE, ids=named)
def test_rehearsed(stage: Stage, check: Callable[[CudaDevice], None]) -> None:
    stage.play(scenes.on_the_stub, check)


@pytest.mark.device
@pytest.mark.parametrize("check", scenes.ON_ANY_DEVICE, ids=named)
def test_on_a_gpu(check: Callable[[CudaDevice], None]) -> None:
    check(select())


@pytest.mark.parametrize(
    "scene",
    [
        scenes.a_worker_changes_its_device,
        scenes.a_handle_belongs_to_its_device,
        scenes.a_device_serves_every_thread,
        scenes.the_allocator_gives_back_what_it_holds,
        scenes.no_memory_is_reserved_and_none_is_pinned,
        scenes.blocks_cover_the_rows,
        scenes.a_program_is_loaded_once_by_device,
    ],
    ids=named,
)
def test_use(stage: Stage, log: str, scene: Callable[[], None]) -> None:
    stage.play(scene, STUB_LOG=log)


def test_a_gpu_without_memory_pools(stage: Stage, log: str) -> None:
    stage.play(scenes.a_gpu_without_memory_pools, STUB_LOG=log, STUB_POOLS="0")


# --- programs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["75", "80", "90", "120"])
def test_the_code_is_for_the_architecture(stage: Stage, arch: str) -> None:
    stage.play(scenes.the_code_is_for_the_architecture, arch, STUB_ARCH=arch)


def test_machine_code_comes_from_the_disk(stage: Stage, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    stage.play(scenes.on_the_stub, scenes.a_program_computes, GPUSPARK_CACHE_DIR=cache)
    stage.play(scenes.machine_code_comes_from_the_disk, GPUSPARK_CACHE_DIR=cache)


def test_the_drivers_compiler_is_the_last_resort(stage: Stage, log: str) -> None:
    stage.play(scenes.the_drivers_compiler_is_the_last_resort, STUB_LOG=log, STUB_ARCH="99", STUB_PTX="63")


def test_no_way_to_load_a_program(stage: Stage) -> None:
    stage.play(scenes.no_way_to_load_a_program, STUB_ARCH="99", STUB_PTX="62")


# --- failing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", scenes.OPERATIONS)
def test_failures_are_reported(stage: Stage, name: str) -> None:
    stage.play(scenes.failures_are_reported, name)


@pytest.mark.parametrize("code", [214, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 999])
def test_a_lost_device_is_left_alone(stage: Stage, log: str, code: int) -> None:
    stage.play(scenes.a_lost_device_is_left_alone, code, STUB_LOG=log)


def test_a_fault_in_a_program_loses_the_device(stage: Stage) -> None:
    stage.play(scenes.a_fault_in_a_program_loses_the_device)


def test_memory_runs_out_and_comes_back(stage: Stage) -> None:
    stage.play(scenes.memory_runs_out_and_comes_back, STUB_MEMORY=str(1 << 20))


def test_an_unknown_result_is_reported(stage: Stage) -> None:
    stage.play(scenes.an_unknown_result_is_reported)
