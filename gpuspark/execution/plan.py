"""The decision: which device runs a function, and every reason why another one does not.

:func:`plan` is pure. It is given what is known (what the function asks of each device, the session
flag, what is present) and touches nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gpuspark.config import Config
from gpuspark.devices.protocol import DeviceName
from gpuspark.errors import FallbackError

_ORDER: dict[str, tuple[DeviceName, ...]] = {
    "auto": ("cuda", "cpu", "python"),
    "cuda": ("cuda", "cpu", "python"),
    "emulated": ("emulated", "cpu", "python"),
    "cpu": ("cpu", "python"),
    "python": ("python",),
}


@dataclass(frozen=True)
class Reason:
    """Why a device was not taken."""

    device: DeviceName
    text: str
    absent: bool = False
    """The device is not on this machine, as opposed to: this function cannot use it."""

    def __str__(self) -> str:
        return f"{self.device}: {self.text}"


@dataclass(frozen=True)
class Plan:
    """The device taken for a function, and why not each one that would have come before it."""

    function: str
    device: DeviceName
    reasons: tuple[Reason, ...]
    fell_back: bool
    """Whether a device that was asked for, or is present, was passed over."""
    left_to_python: tuple[str, ...] = ()
    """What stands on some path of the body and does not compile: rows that come there are computed in Python."""

    def __str__(self) -> str:
        lines = [f"{self.function} runs on {self.device}"]
        lines += [f"  not on {reason}" for reason in self.reasons]
        lines += [f"  in Python, for rows that come there: {construct}" for construct in self.left_to_python]
        return "\n".join(lines)

    __repr__ = __str__


def plan(
    function: str,
    obstacles: Mapping[DeviceName, Sequence[str]],
    config: Config,
    absent: Mapping[DeviceName, str],
    left_to_python: Sequence[str] = (),
) -> Plan:
    """Takes the first device, in the order of the session flag, that nothing speaks against.

    ``obstacles``: per device, everything in the function, its columns or its result that keeps it off
    that device. ``absent``: devices that are not usable on this machine, each with the reason.
    ``python`` has no obstacles: it always runs.

    With ``device=auto`` a GPU that is not there is a reason, but no fallback.

    >>> print(plan("f", {"cpu": ["line 3: try"]}, Config(device="cpu"), {}))
    f runs on python
      not on cpu: line 3: try
    """
    if not config.enabled:
        return Plan(function, "python", (Reason("cpu", "spark.gpuspark.enabled is false"),), False)
    reasons: list[Reason] = []
    for device in _ORDER[config.device]:
        found = [Reason(device, text) for text in obstacles.get(device, ())]
        if device in absent:
            found.insert(0, Reason(device, absent[device], absent=True))
        if not found or device == "python":
            break
        reasons += found
    fell_back = any(not (reason.absent and config.device == "auto") for reason in reasons)
    return Plan(function, device, tuple(reasons), fell_back, () if device == "python" else tuple(left_to_python))


def devices_of(config: Config) -> tuple[DeviceName, ...]:
    """The devices that the session flag allows, best first."""
    return _ORDER[config.device] if config.enabled else ("python",)


def enforce(decision: Plan, config: Config) -> None:
    """Raises :class:`~gpuspark.errors.FallbackError` where ``fallback=raise`` forbids ``decision``."""
    if decision.fell_back and config.fallback == "raise":
        raise FallbackError(
            f"{decision}\nspark.gpuspark.fallback=raise forbids this. "
            "Change the body or the column types, or set spark.gpuspark.fallback=warn."
        )
