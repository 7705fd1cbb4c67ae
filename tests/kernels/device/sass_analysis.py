"""A small taint analysis over NVIDIA machine code: does anything read from memory decide a jump, or an address?

It does for cards what `tests/kernels/machine_code.py` does for the processor, with more knowledge: an argument of a
kernel lies at a known place of constant memory, so that every address tells of which buffers it can be. A value is
public (arguments, indices of threads, and what is computed from these) or SECRET: a word of a buffer, unless its
address comes from arguments alone that the manifest calls `public`, or anything computed from such a word. Shared
memory is all SECRET where one word of it is.

A violation is

    jump      a branch, an exit, a barrier or a call on a SECRET predicate or register;
    address   a SECRET register in an address, also of constant memory, or as the number of a lane; and an access to
              memory that happens or not as a SECRET predicate says.

An instruction other than these under a SECRET predicate is a choice: it is issued in any case, for a whole warp. There
is no instruction for division: what compilers write instead is looked at like the rest, its short cuts are jumps. The
data flow is forward over the control-flow graph of each kernel; a subroutine returns to every place from which it can
have been called.

What it cannot see: the contents of a buffer called public; power; and instructions whose own time would depend on
their operands. Integer instructions and double-precision ones of these cards have none that NVIDIA or anyone else has
written of.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from tests.kernels.device.cubin import KernelInfo
from tests.kernels.device.sass import PLACES, PREDICATES, STACK, UNIFORM_PREDICATES, Function, Instruction, opposite
from tests.kernels.machine_code import Violation

SECRET = 1  # the lowest bit of what is known of a place; bit 1 + k: it may come from argument k, a pointer
_PARAMETERS = 0  # the bank of constant memory that holds them
_POINTER = 8


@dataclass
class State:
    """What is known of each place, and what of a thread for which a predicate holds: `under` that predicate, until it
    changes. (Compilers write short branches as instructions under predicates; what a register held before the first of
    these is nothing to the last.) What is known is an upper bound: two bounds together are their common bits.
    """

    levels: list[int]
    under: dict[str, dict[int, int]] = field(default_factory=dict)

    def copy(self) -> State:
        return State(list(self.levels), {guard: dict(known) for guard, known in self.under.items()})

    def assuming(self, guard: str) -> State:
        """A copy, for threads for which this predicate holds."""
        there = self.copy()
        for place, level in there.under.get(guard, {}).items():
            there.levels[place] &= level
        return there

    def absorb(self, other: State) -> bool:
        """Join what is known on two ways to a place; True if anything changed."""
        levels = [a | b for a, b in zip(self.levels, other.levels, strict=True)]
        under = {}
        for guard, known in self.under.items():
            theirs = other.under.get(guard, {})
            under[guard] = {place: level | theirs[place] for place, level in known.items() if place in theirs}
        changed = (levels, under) != (self.levels, self.under)
        self.levels, self.under = levels, under
        return changed

    def read(self, places: tuple[int, ...], *guards: str) -> int:
        """All that is known of these places together, for a thread for which these predicates hold."""
        known = [self.under[guard] for guard in guards if guard in self.under]
        found = 0
        for place in places:
            level = self.levels[place]
            for under in known:
                level &= under.get(place, level)
            found |= level
        return found

    def write(self, place: int, guarded: str, level: int, seen: Mapping[str, int]) -> None:
        """`level`: of the word written; `seen`: of the same for threads for which these predicates hold."""
        before = self.levels[place]
        self.levels[place] = before | level if guarded else level
        for guard, known in self.under.items():
            if not guarded:
                after = seen[guard]
            elif guard == guarded:
                after = level
            else:  # where the opposite holds, nothing is written
                after = known.get(place, before) | (0 if guard == opposite(guarded) else seen[guard])
            if after == self.levels[place]:
                known.pop(place, None)
            else:
                known[place] = after
        if guarded and guarded not in self.under:
            self.under[guarded] = {place: level}
        if PREDICATES <= place < STACK:
            name = f"P{place - PREDICATES}" if place < UNIFORM_PREDICATES else f"UP{place - UNIFORM_PREDICATES}"
            self.under.pop(name, None)
            self.under.pop(f"!{name}", None)


@dataclass
class Findings:
    """Of one kernel; `loads`: how many instructions read words that are SECRET."""

    violations: set[Violation] = field(default_factory=set)
    loads: int = 0


def analysed(
    function: Function, info: KernelInfo, arguments: Sequence[tuple[str, str]], public: Collection[str]
) -> Findings:
    """`arguments` and `public` as the manifest tells them."""
    return _Analysis(function, info, arguments, public).findings


class _Analysis:
    def __init__(
        self, function: Function, info: KernelInfo, arguments: Sequence[tuple[str, str]], public: Collection[str]
    ) -> None:
        assert len(arguments) == len(info.parameters), "the manifest is that of this kernel"
        self._name = function.name
        self._pointers: dict[int, int] = {}  # a word of constant memory -> the bit of its argument
        self._public = 0
        for k, ((kind, name), (place, _)) in enumerate(zip(arguments, info.parameters, strict=True)):
            if kind.endswith("*"):
                bit = 2 << k
                self._pointers |= {place: bit, place + _POINTER // 2: bit}
                self._public |= bit if name in public else 0
        self._shared = 0
        self._seen: set[int] = set()
        self.findings = Findings()
        self._blocks = function.blocks()
        while True:  # until what lies in shared memory is settled
            before = self._shared
            self._run()
            if self._shared == before:
                break
        self.findings.loads = len(self._seen)

    def _run(self) -> None:
        arrivals = {0: State([0] * PLACES)}
        waiting = [0]
        while waiting:
            number = waiting.pop()
            block = self._blocks[number]
            state = arrivals[number].copy()
            for instruction in block.code:
                self._step(instruction, state)
            for following, guard in block.ways.items():
                there = state.assuming(guard)
                if following not in arrivals:
                    arrivals[following] = there
                elif not arrivals[following].absorb(there):
                    continue
                if following not in waiting:
                    waiting.append(following)

    def _report(self, kind: str, instruction: Instruction) -> None:
        self.findings.violations.add(Violation(self._name, kind, instruction.text))

    def _step(self, i: Instruction, state: State) -> None:
        # What comes from another thread comes from one for which no predicate of this one need hold.
        others = i.kind == "exchange" or i.name == "R2UR"
        guard, found = state.read(i.guard) & SECRET, state.read(i.read, *([] if others else [i.guarded]))
        if i.kind == "jump":
            if (found | guard) & SECRET:
                self._report("jump", i)
            return
        constant = 0
        for words in i.constants:
            if state.read(words.index, i.guarded) & SECRET:
                self._report("address", i)
            if words.bank == _PARAMETERS:
                for number in range(words.words):
                    constant |= self._pointers.get(words.offset + 4 * number, 0)
        if i.kind != "compute":
            at = state.read(i.address, i.guarded)
            if (at | guard) & SECRET:
                self._report("address", i)
            if i.kind == "store":
                if i.memory == "shared":
                    self._shared |= found & SECRET
                return
            if i.kind == "load":
                constant = self._loaded(i, at & ~SECRET)
        seen = {
            under: (found if others else state.read(i.read, i.guarded, under))
            | state.read(i.guard, under) & SECRET
            | constant
            for under in state.under
        }
        for place in i.written:
            mask = SECRET if PREDICATES <= place < STACK else -1
            levels = {under: level & mask for under, level in seen.items()}
            state.write(place, i.guarded, (found | guard | constant) & mask, levels)
        for place in i.touched:
            state.levels[place] |= found | guard
            state.under.clear()

    def _loaded(self, i: Instruction, sources: int) -> int:
        """What a load brings from an address made of these arguments."""
        if i.memory == "shared":
            return self._shared
        if sources and not sources & ~self._public:
            return 0
        self._seen.add(id(i))
        return SECRET
