"""Runs a program: many threads at once, and after a divergent branch the threads at the lowest program counter first.

All threads of a set of blocks start together as one group of active threads. A divergent branch splits the group.
Of the resulting groups, the one with the deepest call stack and, among those, the lowest program counter runs next.
So threads that took the longer path catch up, and groups that reach the same program counter reconverge into one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpuspark.devices.emulator.access import faults_of_subset
from gpuspark.devices.emulator.barriers import (
    Barrier,
    Synchronisation,
    SynchronisationQueue,
    WaitingGroup,
    WarpSynchronisation,
)
from gpuspark.devices.emulator.faults import AccessFault
from gpuspark.devices.emulator.operands import Read
from gpuspark.devices.emulator.program import (
    Branch,
    Call,
    Compute,
    ControlFlow,
    Exit,
    IndexedBranch,
    Program,
    Return,
    Step,
    Trap,
)
from gpuspark.devices.emulator.races import RaceDetector, RaceFault
from gpuspark.devices.emulator.syntax import Function
from gpuspark.devices.emulator.threads import ActiveThreads, Dimensions, Index, ThreadBlocks
from gpuspark.errors import DeviceFault

THREADS_AT_ONCE = 1 << 14
"""The number of threads that run together (whole blocks, at least one), so that a register fits the CPU's cache."""

_NO_RECONVERGENCE = 1 << 62
"""A program counter beyond every program."""

_GroupKey = tuple[int, int, tuple[int, ...]]
"""Minus the call depth, the program counter, and the call stack: the smallest key runs next."""


MOST_STEPS = 20_000_000
"""The number of steps of one set of blocks after which a program counts as an endless loop."""


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
    """Runs ``entry`` over the whole grid.

    ``words`` are the values of its parameters, as integers; ``shared_bytes`` is the size of the dynamic shared memory.

    Raises :class:`~gpuspark.errors.DeviceFault` where a thread does what a GPU would not allow.
    """
    function = _entry(program, entry, words)
    variables, race_detector = program.shared_layout.place(shared_bytes), RaceDetector()
    threads_per_block = block[0] * block[1] * block[2]
    total = grid[0] * grid[1] * grid[2] * threads_per_block
    count = max(THREADS_AT_ONCE // threads_per_block, 1) * threads_per_block
    with np.errstate(all="ignore"):
        for first in range(0, total, count):
            thread_ids = np.arange(first, min(first + count, total))
            blocks = ThreadBlocks(thread_ids, grid, block, variables, race_detector)
            _Run(program, function, blocks, words, most_steps).finish()


def _entry(program: Program, entry: str, words: Sequence[int]) -> Function:
    """Returns the kernel named ``entry``; raises ``ValueError`` where it is missing or takes other parameters."""
    function = program.module.functions.get(entry)
    if function is None or not function.is_entry:
        known = [f.name for f in program.module.functions.values() if f.is_entry]
        raise ValueError(f"This program has no entry {entry!r}; it has {known}.")
    if len(words) != len(function.parameters):
        raise ValueError(f"{entry} takes {len(function.parameters)} parameters, not {len(words)}.")
    return function


class _Run:
    """The execution of a program by one set of thread blocks.

    ``runnable`` holds the groups of active threads that can take their next step, by their key; ``waiting`` those
    that wait at a barrier or for other threads of their warp.
    """

    def __init__(
        self, program: Program, entry: Function, blocks: ThreadBlocks, words: Sequence[int], most_steps: int
    ) -> None:
        self.steps_left = most_steps
        self.waiting = SynchronisationQueue()
        self.program = program
        self.entry = entry
        self.blocks = blocks
        self.runnable: dict[_GroupKey, list[ActiveThreads]] = {}
        frame = blocks.frame(entry, 0)
        for parameter, word in zip(entry.parameters, words, strict=True):
            data = (word % 2**64).to_bytes(8, "little")[: parameter.nbytes]
            frame.parameters[parameter.name] = np.frombuffer(data, np.uint8).reshape(1, -1)
        self.schedule(ActiveThreads(blocks, frame, None, program.starts[entry.name]))

    def finish(self) -> None:
        """Runs until every thread has exited."""
        while self.runnable or self.waiting:
            if self.runnable:
                self.execute(self.next_group())
            else:
                self.release_waiting()

    # ---- scheduling

    def schedule(self, active: ActiveThreads) -> None:
        """Adds ``active`` to the groups that can run."""
        if active.size:
            key = (-len(active.call_stack), active.pc, active.call_stack)
            self.runnable.setdefault(key, []).append(active)

    def next_group(self) -> ActiveThreads:
        """Removes and returns all threads at the smallest key, reconverged into one group."""
        groups = self.runnable.pop(min(self.runnable))
        active = groups[0]
        if len(groups) > 1:
            active.index = np.sort(np.concatenate([group.indices() for group in groups]))
        if active.index is not None and not self.runnable and not self.waiting:  # all other threads have exited
            if len(active.index) < self.blocks.size:
                self.blocks.keep(active.index)
            active.index = None
        return active

    def reconvergence_point(self, active: ActiveThreads) -> int:
        """Returns the lowest program counter at which another group with the same call stack is runnable."""
        return min(
            (pc for _, pc, call_stack in self.runnable if call_stack == active.call_stack), default=_NO_RECONVERGENCE
        )

    # ---- executing

    def execute(self, active: ActiveThreads) -> None:
        """Takes steps with ``active`` until its threads diverge, exit, wait, or reconverge with others."""
        steps = self.program.steps
        reconvergence_point = self.reconvergence_point(active)
        while active.pc < reconvergence_point:
            step = steps[active.pc]
            self.steps_left -= 1
            if self.steps_left < 0:
                raise self.fault(active, step, AccessFault(0, "the program goes on and on, and was stopped", "steps"))
            try:
                if not callable(step.action):
                    if not self.transfer_control(active, step, step.action):
                        return
                elif step.guard is None:
                    step.action(active)
                    active.pc += 1
                else:
                    self.execute_guarded(active, step.guard, step.action)
                    active.pc += 1
            except AccessFault as fault:
                raise self.fault(active, step, fault) from None
        self.schedule(active)

    def execute_guarded(self, active: ActiveThreads, guard: Read, action: Compute) -> None:
        """Takes a step with those threads whose guard predicate is true."""
        mask = guard(active)
        if mask.all():
            action(active)
        elif mask.any():
            with faults_of_subset(mask):
                action(active.where(mask))

    def transfer_control(self, active: ActiveThreads, step: Step, action: ControlFlow) -> bool:
        """Executes a control flow instruction under its guard. Returns whether ``active`` can go on undivided."""
        if step.guard is not None:
            mask = step.guard(active)
            if not mask.any():
                active.pc += 1
                return True
            if not mask.all():
                not_taken = active.where(~mask)
                not_taken.pc += 1
                self.schedule(not_taken)
                taken = active.where(mask)
                with faults_of_subset(mask):
                    if self.follow(taken, action):
                        self.schedule(taken)
                return False
        return self.follow(active, action)

    def follow(self, active: ActiveThreads, action: ControlFlow) -> bool:
        """Moves all of ``active`` to where ``action`` leads. Returns False where they exited, wait or diverged."""
        if isinstance(action, Branch):
            active.pc = action.target
            if not self.exits_next(active):
                return True
            self.exit(active)
            return False
        if isinstance(action, Barrier | WarpSynchronisation):
            return self.synchronise(active, action)
        if isinstance(action, IndexedBranch):
            self.branch_by_index(active, action)
            return False
        if isinstance(action, Call):
            self.call(active, action)
            self.schedule(active)
            return False
        if isinstance(action, Return) and active.call_stack:
            self.return_to_caller(active)
            self.schedule(active)
            return False
        if isinstance(action, Trap):
            raise AccessFault(0, "the program trapped", "traps")
        self.exit(active)
        return False

    def exit(self, active: ActiveThreads) -> None:
        """Marks the threads of ``active`` as exited."""
        self.blocks.alive[active.indices()] = False

    def exits_next(self, active: ActiveThreads) -> bool:
        """Returns whether the next step ends the threads, which then need not reconverge with others first."""
        step = self.program.steps[active.pc]
        exits = isinstance(step.action, Exit) or (isinstance(step.action, Return) and not active.call_stack)
        return exits and step.guard is None

    # ---- synchronising

    def synchronise(self, active: ActiveThreads, synchronisation: Synchronisation) -> bool:
        """Completes ``synchronisation`` if all its threads have arrived, else lets ``active`` wait.

        Returns whether ``active`` can go on."""
        if synchronisation.is_complete(active, self.blocks.alive).all():
            synchronisation.complete(active)
            active.pc += 1
            return True
        self.waiting.add(active)
        return False

    def release_waiting(self) -> None:
        """Lets waiting threads go on where all have arrived: first those that wait for their warp, then for a block.

        Called when no thread is runnable. Raises :class:`~gpuspark.errors.DeviceFault` where none can go on.
        """
        groups = self.waiting.take_all()
        warps = [group for group in groups if isinstance(self.synchronisation(group.active), WarpSynchronisation)]
        barriers = [group for group in groups if isinstance(self.synchronisation(group.active), Barrier)]
        for group in warps or barriers:
            self.release_complete(group)
        if not self.runnable:
            raise self.deadlock((warps or barriers)[0])
        for group in barriers if warps else ():
            self.waiting.add(group.active, group.expected)

    def release_complete(self, group: WaitingGroup) -> None:
        """Lets the threads of ``group`` whose synchronisation is complete go on; the others keep waiting."""
        active, synchronisation = group.active, self.synchronisation(group.active)
        complete = synchronisation.is_complete(active, group.expected)
        if not complete.all():
            self.waiting.add(active.where(~complete), group.expected)
        if complete.any():
            released = active.where(complete)
            try:
                synchronisation.complete(released)
            except AccessFault as fault:
                raise self.fault(released, self.program.steps[released.pc], fault) from None
            released.pc += 1
            self.schedule(released)

    def deadlock(self, group: WaitingGroup) -> DeviceFault:
        """Returns the fault that says which threads ``group`` waits for in vain."""
        synchronisation = self.synchronisation(group.active)
        problem = synchronisation.describe_missing(group.active, group.expected)
        return self.fault(
            group.active, self.program.steps[group.active.pc], AccessFault(0, problem, synchronisation.checker)
        )

    def synchronisation(self, active: ActiveThreads) -> Synchronisation:
        """Returns the barrier or warp synchronisation at which ``active`` waits."""
        action = self.program.steps[active.pc].action
        assert isinstance(action, Barrier | WarpSynchronisation)
        return action

    # ---- branches and calls

    def branch_by_index(self, active: ActiveThreads, action: IndexedBranch) -> None:
        """Executes ``brx.idx``: schedules the threads of each target separately."""
        chosen = np.broadcast_to(action.choice(active), (active.size,))
        for number in np.unique(chosen).tolist():
            if number >= len(action.targets):
                raise AccessFault(int(np.flatnonzero(chosen == number)[0]), f"brx.idx: no target {number}", "bounds")
            group = active.where(chosen == number)
            group.pc = action.targets[number]
            self.schedule(group)

    def call(self, active: ActiveThreads, call: Call) -> None:
        """Enters a device function: pushes the call and copies its arguments."""
        caller = active.frame
        active.call_stack = (*active.call_stack, active.pc)
        active.pc = call.start
        active.frame = self.blocks.frame(call.function, self.recursion_depth(active.call_stack, call.function))
        for inner, outer in call.arguments:
            _copy_rows(caller.parameters[outer], active.frame.parameters[inner], active.index)

    def return_to_caller(self, active: ActiveThreads) -> None:
        """Leaves a device function: pops the call and copies its results."""
        callee = active.frame
        *call_stack, pc = active.call_stack
        active.call_stack = tuple(call_stack)
        active.pc = pc + 1
        call = self.program.steps[pc].action
        assert isinstance(call, Call)
        function = self.innermost_function(active.call_stack)
        active.frame = self.blocks.frame(function, self.recursion_depth(active.call_stack, function))
        for inner, outer in call.results:
            _copy_rows(callee.parameters[inner], active.frame.parameters[outer], active.index)

    def innermost_function(self, call_stack: tuple[int, ...]) -> Function:
        """Returns the function that is executed under ``call_stack``."""
        if not call_stack:
            return self.entry
        call = self.program.steps[call_stack[-1]].action
        assert isinstance(call, Call)
        return call.function

    def recursion_depth(self, call_stack: tuple[int, ...], function: Function) -> int:
        """Returns how many calls of ``function`` are in progress, without the innermost call of ``call_stack``."""
        calls = [self.program.steps[pc].action for pc in call_stack]
        return max(sum(isinstance(c, Call) and c.function is function for c in calls) - 1, 0)

    # ---- faults

    def fault(self, active: ActiveThreads, step: Step, fault: AccessFault) -> DeviceFault:
        """Returns ``fault`` with its kernel, instruction, source line, block and thread."""
        index = active.indices()
        thread_id = int(self.blocks.thread_ids[index[min(fault.thread, len(index) - 1)]])
        instruction = step.instruction
        source = f" ({instruction.source})" if instruction.source else ""
        problem = self.describe_race(fault) if isinstance(fault, RaceFault) else fault.problem
        return DeviceFault(
            f"{self.entry.name}: {problem}. It is the instruction {instruction.text!r} at PTX line "
            f"{instruction.line}{source}, in {self.describe_thread(thread_id)}. Check the indices and lengths "
            "that the program uses.",
            checker=fault.checker,
        )

    def describe_race(self, race: RaceFault) -> str:
        """Returns a description of ``race`` that names both threads."""
        other = self.describe_thread(race.other) if race.other >= 0 else "several others"
        return f"{race.does} {other} {race.did}, and no barrier lies between: a race at {race.where}"

    def describe_thread(self, thread_id: int) -> str:
        """Returns the block and thread index of ``thread_id``, in words."""
        block, thread = self.blocks.block_and_thread(thread_id)
        return f"block {block}, thread {thread}"


def _copy_rows(source: np.ndarray, target: np.ndarray, index: Index | None) -> None:
    """Copies a parameter from one frame to another, for the threads in ``index``."""
    width = min(source.shape[1], target.shape[1])
    rows: slice | Index = slice(None) if index is None else index
    target[rows, :width] = source[rows, :width] if len(source) > 1 else source[:, :width]
