"""Runs a program: many lanes at once, the one that is furthest behind first.

All lanes of a crew start together. Where a branch parts them, each team waits at its own place, and the
one in the deepest call at the lowest place goes first. So the lanes that took the longer way catch up,
and teams that meet at one place go on as one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpuspark.devices.emulator.access import lanes_of
from gpuspark.devices.emulator.faults import AccessFault
from gpuspark.devices.emulator.lanes import Crew, Dimensions, Index, Team
from gpuspark.devices.emulator.meetings import Barrier, Meeting, Parked, Waiting, WarpMeeting
from gpuspark.devices.emulator.operands import Read
from gpuspark.devices.emulator.program import (
    Branch,
    Call,
    Compute,
    Control,
    Exit,
    IndexedBranch,
    Program,
    Return,
    Step,
    Trap,
)
from gpuspark.devices.emulator.races import RaceFault, Races
from gpuspark.devices.emulator.syntax import Function
from gpuspark.errors import DeviceFault

LANES_AT_ONCE = 1 << 14
"""Lanes of one crew (whole blocks, so at least one): its arrays then fit a processor's cache."""

_FAR = 1 << 62

_Key = tuple[int, int, tuple[int, ...]]


MOST_STEPS = 20_000_000
"""Steps of one crew after which a program counts as one that never ends."""


def launch(
    program: Program,
    entry: str,
    grid: Dimensions,
    block: Dimensions,
    words: Sequence[int],
    *,
    shared_bytes: int = 0,
    most_steps: int = MOST_STEPS,
) -> None:
    """Runs ``entry`` over the whole grid. ``words`` are its parameters, as whole numbers; ``shared_bytes``
    is the size of the dynamic shared memory.

    Raises :class:`~gpuspark.errors.DeviceFault` where a lane does what a GPU would not allow.
    """
    function = _entry(program, entry, words)
    areas, races = program.layout.areas(shared_bytes), Races()
    inside = block[0] * block[1] * block[2]
    total = grid[0] * grid[1] * grid[2] * inside
    step = max(LANES_AT_ONCE // inside, 1) * inside
    with np.errstate(all="ignore"):
        for first in range(0, total, step):
            threads = np.arange(first, min(first + step, total))
            _Run(program, function, Crew(threads, grid, block, areas, races), words, most_steps).finish()


def _entry(program: Program, entry: str, words: Sequence[int]) -> Function:
    function = program.module.functions.get(entry)
    if function is None or not function.is_entry:
        known = [f.name for f in program.module.functions.values() if f.is_entry]
        raise ValueError(f"This program has no entry {entry!r}; it has {known}.")
    if len(words) != len(function.parameters):
        raise ValueError(f"{entry} takes {len(function.parameters)} parameters, not {len(words)}.")
    return function


class _Run:
    """One crew on its way through the program."""

    def __init__(self, program: Program, entry: Function, crew: Crew, words: Sequence[int], most_steps: int) -> None:
        self.steps_left = most_steps
        self.parked = Parked()
        self.program = program
        self.entry = entry
        self.crew = crew
        self.waiting: dict[_Key, list[Team]] = {}
        frame = crew.frame(entry, 0)
        for parameter, word in zip(entry.parameters, words, strict=True):
            data = (word % 2**64).to_bytes(8, "little")[: parameter.nbytes]
            frame.parameters[parameter.name] = np.frombuffer(data, np.uint8).reshape(1, -1)
        self.wait(Team(crew, frame, None, program.starts[entry.name]))

    def finish(self) -> None:
        while self.waiting or self.parked:
            if self.waiting:
                self.advance(self.next_team())
            else:
                self.release()

    # ---- who goes next

    def wait(self, team: Team) -> None:
        if team.size:
            key = (-len(team.stack), team.place, team.stack)
            self.waiting.setdefault(key, []).append(team)

    def next_team(self) -> Team:
        """All lanes that wait at the place that is furthest behind."""
        teams = self.waiting.pop(min(self.waiting))
        team = teams[0]
        if len(teams) > 1:
            team.index = np.sort(np.concatenate([t.lanes() for t in teams]))
        if team.index is not None and not self.waiting and not self.parked:  # everybody else is done
            if len(team.index) < self.crew.size:
                self.crew.keep(team.index)
            team.index = None
        return team

    def horizon(self, team: Team) -> int:
        """The place where the next team that this one could join is waiting."""
        return min((place for _, place, stack in self.waiting if stack == team.stack), default=_FAR)

    # ---- going

    def advance(self, team: Team) -> None:
        """Takes steps with ``team`` until its lanes part, end, or meet others."""
        steps = self.program.steps
        horizon = self.horizon(team)
        while team.place < horizon:
            step = steps[team.place]
            self.steps_left -= 1
            if self.steps_left < 0:
                raise self.fault(team, step, AccessFault(0, "the program goes on and on, and was stopped", "steps"))
            try:
                if not callable(step.action):
                    if not self.turn(team, step, step.action):
                        return
                elif step.guard is None:
                    step.action(team)
                    team.place += 1
                else:
                    self.guarded(team, step.guard, step.action)
                    team.place += 1
            except AccessFault as fault:
                raise self.fault(team, step, fault) from None
        self.wait(team)

    def guarded(self, team: Team, guard: Read, action: Compute) -> None:
        """A step that only some lanes take."""
        mask = guard(team)
        if mask.all():
            action(team)
        elif mask.any():
            with lanes_of(mask):
                action(team.where(mask))

    def turn(self, team: Team, step: Step, action: Control) -> bool:
        """Goes where ``action`` leads. True where the whole team is still together."""
        if step.guard is not None:
            mask = step.guard(team)
            if not mask.any():
                team.place += 1
                return True
            if not mask.all():
                left = team.where(~mask)
                left.place += 1
                self.wait(left)
                taking = team.where(mask)
                with lanes_of(mask):
                    if self.go(taking, action):
                        self.wait(taking)
                return False
        return self.go(team, action)

    def go(self, team: Team, action: Control) -> bool:
        """All of ``team`` follow ``action``. False where they ended or were parted."""
        if isinstance(action, Branch):
            team.place = action.target
            if not self.at_end(team):
                return True
            self.end(team)
            return False
        if isinstance(action, Barrier | WarpMeeting):
            return self.meet(team, action)
        if isinstance(action, IndexedBranch):
            self.part(team, action)
            return False
        if isinstance(action, Call):
            self.enter(team, action)
            self.wait(team)
            return False
        if isinstance(action, Return) and team.stack:
            self.leave(team)
            self.wait(team)
            return False
        if isinstance(action, Trap):
            raise AccessFault(0, "the program trapped", "traps")
        self.end(team)
        return False

    def end(self, team: Team) -> None:
        """The lanes of ``team`` are done."""
        self.crew.alive[team.lanes()] = False

    # ---- waiting for others

    def meet(self, team: Team, meeting: Meeting) -> bool:
        """True where everybody is there already."""
        if meeting.ready(team, self.crew.alive).all():
            meeting.meet(team)
            team.place += 1
            return True
        self.parked.add(team)
        return False

    def release(self) -> None:
        """Nobody can go on alone: those that wait at one place go on together, warps before blocks."""
        everybody = self.parked.take()
        warps = [waiting for waiting in everybody if isinstance(self.meeting(waiting.team), WarpMeeting)]
        blocks = [waiting for waiting in everybody if isinstance(self.meeting(waiting.team), Barrier)]
        for waiting in warps or blocks:
            self.try_meeting(waiting)
        if not self.waiting:
            raise self.stuck((warps or blocks)[0])
        for waiting in blocks if warps else ():
            self.parked.add(waiting.team, waiting.expected)

    def try_meeting(self, waiting: Waiting) -> None:
        """The lanes that are complete go on, the others stay parked."""
        team, meeting = waiting.team, self.meeting(waiting.team)
        ready = meeting.ready(team, waiting.expected)
        if not ready.all():
            self.parked.add(team.where(~ready), waiting.expected)
        if ready.any():
            going = team.where(ready)
            try:
                meeting.meet(going)
            except AccessFault as fault:
                raise self.fault(going, self.program.steps[going.place], fault) from None
            going.place += 1
            self.wait(going)

    def stuck(self, waiting: Waiting) -> DeviceFault:
        meeting = self.meeting(waiting.team)
        missing = AccessFault(0, meeting.missing(waiting.team, waiting.expected), meeting.checker)
        return self.fault(waiting.team, self.program.steps[waiting.team.place], missing)

    def meeting(self, team: Team) -> Meeting:
        action = self.program.steps[team.place].action
        assert isinstance(action, Barrier | WarpMeeting)
        return action

    def at_end(self, team: Team) -> bool:
        """Lanes whose next step ends them need not wait for the others to get there."""
        step = self.program.steps[team.place]
        ends = isinstance(step.action, Exit) or (isinstance(step.action, Return) and not team.stack)
        return ends and step.guard is None

    def part(self, team: Team, action: IndexedBranch) -> None:
        choice = np.broadcast_to(action.choice(team), (team.size,))
        for number in np.unique(choice).tolist():
            if number >= len(action.targets):
                raise AccessFault(int(np.flatnonzero(choice == number)[0]), f"brx.idx: no target {number}", "bounds")
            some = team.where(choice == number)
            some.place = action.targets[number]
            self.wait(some)

    def enter(self, team: Team, call: Call) -> None:
        caller = team.frame
        team.stack = (*team.stack, team.place)
        team.place = call.start
        team.frame = self.crew.frame(call.function, self.level(team.stack, call.function))
        for inner, outer in call.arguments:
            _copy_rows(caller.parameters[outer], team.frame.parameters[inner], team.index)

    def leave(self, team: Team) -> None:
        callee = team.frame
        *stack, place = team.stack
        team.stack = tuple(stack)
        team.place = place + 1
        call = self.program.steps[place].action
        assert isinstance(call, Call)
        function = self.caller(team.stack)
        team.frame = self.crew.frame(function, self.level(team.stack, function))
        for inner, outer in call.results:
            _copy_rows(callee.parameters[inner], team.frame.parameters[outer], team.index)

    def caller(self, stack: tuple[int, ...]) -> Function:
        if not stack:
            return self.entry
        call = self.program.steps[stack[-1]].action
        assert isinstance(call, Call)
        return call.function

    def level(self, stack: tuple[int, ...], function: Function) -> int:
        """How often ``function`` is being executed already, below the innermost call of ``stack``."""
        calls = [self.program.steps[place].action for place in stack]
        return max(sum(isinstance(c, Call) and c.function is function for c in calls) - 1, 0)

    # ---- faults

    def fault(self, team: Team, step: Step, fault: AccessFault) -> DeviceFault:
        """``fault`` with everything that is known of where it happened."""
        index = team.lanes()
        thread = int(self.crew.threads[index[min(fault.lane, len(index) - 1)]])
        instruction = step.instruction
        source = f" ({instruction.source})" if instruction.source else ""
        problem = self.race(fault) if isinstance(fault, RaceFault) else fault.problem
        return DeviceFault(
            f"{self.entry.name}: {problem}. It is the instruction {instruction.text!r} at PTX line "
            f"{instruction.line}{source}, in {self.name(thread)}. Check the indices and lengths "
            "that the program uses.",
            checker=fault.checker,
        )

    def race(self, race: RaceFault) -> str:
        other = self.name(race.other) if race.other >= 0 else "several others"
        return f"{race.does} {other} {race.did}, and no barrier lies between: a race at {race.where}"

    def name(self, thread: int) -> str:
        block, inner = self.crew.block_and_thread(thread)
        return f"block {block}, thread {inner}"


def _copy_rows(source: np.ndarray, target: np.ndarray, index: Index | None) -> None:
    """Copies a parameter from one frame to another, for the lanes in ``index``."""
    width = min(source.shape[1], target.shape[1])
    lanes: slice | Index = slice(None) if index is None else index
    target[lanes, :width] = source[lanes, :width] if len(source) > 1 else source[:, :width]
