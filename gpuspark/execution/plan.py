"""The plan: which device runs a function, and every reason why a better one does not.

:func:`plan` is a pure function of the function's obstacles on each device, the configuration, and the devices that are
present.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gpuspark.config import Config
from gpuspark.devices.protocol import DeviceName
from gpuspark.errors import FallbackError

_ORDER: dict[str, tuple[DeviceName, ...]] = {
    "auto": ("cuda", "cpu", "python"),  # and sql before them, which the driver decides when a column is built
    "sql": ("sql", "cpu", "python"),
    "cuda": ("cuda", "cpu", "python"),
    "emulated": ("emulated", "cpu", "python"),
    "cpu": ("cpu", "python"),
    "python": ("python",),
}


@dataclass(frozen=True)
class Reason:
    """Why a device was not chosen."""

    device: DeviceName
    text: str
    absent: bool = False
    """Whether this machine lacks the device; otherwise this function cannot use it."""

    def __str__(self) -> str:
        return f"{self.device}: {self.text}"


@dataclass(frozen=True)
class Plan:
    """The device chosen for a function, and why each better one was not."""

    function: str
    device: DeviceName
    reasons: tuple[Reason, ...]
    fell_back: bool
    """Whether a device that was asked for, or is present, was not chosen."""
    left_to_python: tuple[str, ...] = ()
    """Constructs on some path of the body that do not compile: rows that reach them are computed in Python."""

    def __str__(self) -> str:
        lines = [f"{self.function} runs on {self.device}"]
        lines += [f"  not on {reason}" for reason in self.reasons]
        lines += [f"  in Python, for rows that reach it: {construct}" for construct in self.left_to_python]
        return "\n".join(lines)

    __repr__ = __str__


def plan(
    function: str,
    obstacles: Mapping[DeviceName, Sequence[str]],
    config: Config,
    absent: Mapping[DeviceName, str],
    left_to_python: Sequence[str] = (),
) -> Plan:
    """Returns the plan with the first device, in the configured order, that has no obstacle.

    ``obstacles``: per device, everything in the function, its columns or its result that keeps it off that device.
    ``absent``: the devices that this machine lacks or cannot use, each with the reason. ``python`` has no obstacles:
    it always runs.

    With ``device=auto`` an absent GPU is a reason, but not a fallback.

    >>> print(plan("f", {"cpu": ["line 3: try"]}, Config(device="cpu"), {}))
    f runs on python
      not on cpu: line 3: try
    """
    if not config.enabled:
        return Plan(function, "python", (Reason("cpu", "spark.gpuspark.enabled is false"),), False)
    reasons: list[Reason] = []
    for device in _ORDER[config.device]:
        against = [Reason(device, text) for text in obstacles.get(device, ())]
        if device in absent:
            against.insert(0, Reason(device, absent[device], absent=True))
        if not against or device == "python":
            break
        reasons += against
    fell_back = any(not (reason.absent and config.device == "auto") for reason in reasons)
    return Plan(function, device, tuple(reasons), fell_back, () if device == "python" else tuple(left_to_python))


def devices_of(config: Config) -> tuple[DeviceName, ...]:
    """Returns the devices that the configuration allows, best first."""
    return _ORDER[config.device] if config.enabled else ("python",)


def enforce(decision: Plan, config: Config) -> None:
    """Raises :class:`~gpuspark.errors.FallbackError` if ``fallback=raise`` forbids ``decision``."""
    if decision.fell_back and config.fallback == "raise":
        raise FallbackError(
            f"{decision}\nspark.gpuspark.fallback=raise forbids this. "
            "Change the body or the column types, or set spark.gpuspark.fallback=warn."
        )
