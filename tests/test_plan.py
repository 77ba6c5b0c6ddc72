"""The plan: one device and every reason, from the obstacles, the configuration and the absent devices."""

from __future__ import annotations

import itertools

import pytest

from gpuspark.config import Config
from gpuspark.errors import FallbackError
from gpuspark.execution.plan import devices_of, enforce, plan

DEVICES = ("cuda", "emulated", "cpu")


@pytest.mark.parametrize("choice", ["auto", "cuda", "cpu", "emulated", "python"])
@pytest.mark.parametrize(
    "blocked", list(itertools.chain.from_iterable(itertools.combinations(DEVICES, n) for n in range(4)))
)
@pytest.mark.parametrize("gone", [(), ("cuda",), ("cuda", "emulated")])
def test_the_first_device_without_an_obstacle_is_chosen(choice, blocked, gone) -> None:
    decision = plan("f", {d: ["no"] for d in blocked}, Config(device=choice), dict.fromkeys(gone, "not here"))
    order = {"auto": ["cuda", "cpu", "python"], "python": ["python"]}.get(choice, [choice, "cpu", "python"])
    order = list(dict.fromkeys(order))
    usable = [d for d in order if d == "python" or (d not in blocked and d not in gone)]
    assert decision.device == usable[0]
    passed_over = order[: order.index(decision.device)]
    assert list(dict.fromkeys(r.device for r in decision.reasons)) == passed_over
    for device in passed_over:
        expected = ["not here"] * (device in gone) + ["no"] * (device in blocked)
        assert [r.text for r in decision.reasons if r.device == device] == expected


def test_an_absent_gpu_is_a_fallback_only_if_it_was_asked_for() -> None:
    absent = {"cuda": "no driver"}
    assert not plan("f", {}, Config(), absent).fell_back
    assert plan("f", {}, Config(device="cuda"), absent).fell_back
    assert plan("f", {"cuda": ["string column"]}, Config(), {}).fell_back


def test_disabled_everything_runs_in_python_without_a_fallback() -> None:
    decision = plan("f", {}, Config(enabled=False), {})
    assert (decision.device, decision.fell_back) == ("python", False)
    assert devices_of(Config(enabled=False)) == ("python",)


def test_fallback_raise_forbids_a_fallback_and_says_why() -> None:
    config = Config(device="cpu", fallback="raise")
    with pytest.raises(FallbackError, match=r"(?s)f runs on python.*cpu: line 3.*fallback=warn"):
        enforce(plan("f", {"cpu": ["line 3"]}, config, {}), config)
    enforce(plan("f", {}, config, {}), config)
