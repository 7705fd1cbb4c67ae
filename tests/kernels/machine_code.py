"""A small taint analysis over x86-64 assembly: does anything read from memory decide a jump, an address, a division?

Every value carries a level:

PUBLIC  arguments, constants, loop counters, what is computed from these, and the function's own stack where such
        values were saved;
WORD    a word as it was loaded from memory, or such a word plus a public offset;
SECRET  anything else computed from a loaded word: every digit, carry, mask and comparison.

Kernels receive addresses, sizes and flags as arguments, and everything secret through memory. So a conditional jump
on flags that are not PUBLIC, a division by them, and an address with a SECRET part or a *scaled* WORD (an element of a
table picked by what was loaded) are violations. A WORD may be an address as it stands: kernels keep the addresses of
rows in memory (`elements.point_rows`), and that is how they read them. A vector register is a register like any
other, so moving lanes to a general register is seen for what is then done with them.

Public tables (indices, kinds of primes) also lie in memory. A kernel declares what it reads of them by
`ring_words.public`, which leaves a comment in the listing: the register it names is PUBLIC from there on.

The analysis is a forward data flow over each function's control-flow graph, with calls between functions of one
listing followed through their arguments. What it cannot see:

- provenance: a WORD used unscaled as an address is taken for a row's, whatever was stored there. A secret times the
  width of a table's entry is always seen, a table of single bytes would not be;
- what a callee writes through an address into the caller's frame, beyond the first word (which becomes a WORD); no
  kernel returns more than one number but for the header of a fresh array, which is public;
- instructions whose own time depends on their operands (division is refused; multiplication is taken to be constant,
  which holds for the x86-64 processors of the last twenty years), and speculation.

The portable lane under valgrind (test_valgrind.py) knows provenance exactly and complements this.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from tests.kernels.listing import Function, Instruction, Operand, parse, short_name

if TYPE_CHECKING:
    from collections.abc import Mapping

PUBLIC, WORD, SECRET = 0, 1, 2

ARGUMENTS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9", *(f"v{i}" for i in range(8)))
PRESERVED = ("rbx", "rbp", "r12", "r13", "r14", "r15")
# Names that Numba adds around a kernel: argument unpacking for Python, reference counts.
FOREIGN = ("_ZN7cpython", "cfunc.", "NRT_", "numba_")

_WIDTHS = {"b": 1, "w": 2, "l": 4, "q": 8}
_NO_FLAGS = ("mov", "lea", "v", "k", "push", "popq", "not", "cmov", "set", "mulx", "rorx", "shlx", "shrx", "sarx")
_NO_FLAGS_EITHER = ("bswap", "pdep", "pext", "xchg", "cqto", "cltq", "cltd", "prefetch", "nop", "pause")
_ACCUMULATE = ("vpternlog", "vpermt2", "vpermi2", "vpmadd52", "vfmadd", "vpdp")
_COMPARE_ONLY = re.compile(r"(cmp|test)[bwlq]|bt[wlq]|vptest|vtestp[sd]|k(or)?test[bwdq]|vu?comis[sd]")
_KEEPS_WORD = re.compile(r"(add|sub|inc|dec)[bwlq]?$")
_CARRY = {"b", "c", "ae", "nb", "nc", "nae"}
_CARRY_AND_ZERO = {"a", "be", "na", "nbe"}


@dataclass(frozen=True, order=True)
class Violation:
    function: str
    kind: str
    instruction: str


Cells = dict[tuple[str, int], int]


Key = TypeVar("Key")


def _raise_to(mine: dict[Key, int], theirs: dict[Key, int]) -> bool:
    higher = {key: level for key, level in theirs.items() if level > mine.get(key, PUBLIC)}
    mine.update(higher)
    return bool(higher)


@dataclass
class State:
    """Levels of registers, flags ("cf": carry, "zf": the others) and stack cells of 8 bytes; the stack pointer."""

    levels: dict[str, int] = field(default_factory=dict)
    symbols: dict[str, str] = field(default_factory=dict)
    cells: Cells = field(default_factory=dict)
    stack: int = 0
    frame: str = "rsp"  # a new name after an alignment of the stack pointer
    indexed: int = PUBLIC  # what was stored into the frame at a computed place
    base: int | None = None  # the stack pointer that rbp keeps, before an alignment

    def copy(self) -> State:
        levels, symbols, cells = dict(self.levels), dict(self.symbols), dict(self.cells)
        return State(levels, symbols, cells, self.stack, self.frame, self.indexed, self.base)

    def in_frame(self, register: str | None) -> bool:
        """Whether an address from this register lies on the stack."""
        return register == "rsp" or (register == "rbp" and self.base is not None)

    def level(self, name: str | None) -> int:
        return PUBLIC if name is None else self.levels.get(name, PUBLIC)

    def absorb(self, other: State) -> bool:
        """Join; True if anything rose."""
        changed = _raise_to(self.levels, other.levels) | _raise_to(self.cells, other.cells)
        for name in [name for name, value in self.symbols.items() if other.symbols.get(name) != value]:
            del self.symbols[name]
            changed = True
        if other.indexed > self.indexed:
            self.indexed, changed = other.indexed, True
        if self.base != other.base:
            self.base, changed = None, changed or self.base is not None
        assert (self.stack, self.frame) == (other.stack, other.frame), "one stack depth for every way to a place"
        return changed


class Analysis:
    """All functions of one listing, to the fixed point over calls between them."""

    def __init__(self, listing: str, arities: Mapping[str, int] = MappingProxyType({})) -> None:
        """`arities`: functions outside the listing that take that many addresses and sizes, none of them secret."""
        self.arities = arities
        self.functions = {name: function for name, function in parse(listing).items() if not name.startswith(FOREIGN)}
        self.entries: dict[str, State] = {name: State() for name in self.functions}
        self.violations: set[Violation] = set()
        self.loads = 0
        self._waiting = list(self.functions)
        while self._waiting:
            self._function(self.functions[self._waiting.pop()])

    def _function(self, function: Function) -> None:
        arrivals: dict[int, State] = {0: self.entries[function.name].copy()}
        queue = [0]
        while queue:
            at = queue.pop()
            state = arrivals[at].copy()
            while at < len(function.code):
                instruction = function.code[at]
                targets = self._step(function, instruction, state)
                ends = instruction.name.startswith(("jmp", "ret", "ud2"))
                for target in targets:
                    self._arrive(arrivals, queue, function.labels[target], state)
                if ends:
                    break
                at += 1
                if at in function.labels.values():
                    self._arrive(arrivals, queue, at, state)
                    break

    @staticmethod
    def _arrive(arrivals: dict[int, State], queue: list[int], at: int, state: State) -> None:
        if at not in arrivals:
            arrivals[at] = state.copy()
        elif not arrivals[at].absorb(state):
            return
        if at not in queue:
            queue.append(at)

    # -- one instruction -----------------------------------------------------------------------------------------

    def _report(self, function: Function, kind: str, instruction: Instruction) -> None:
        self.violations.add(Violation(short_name(function.name), kind, instruction.text))

    def _step(self, function: Function, i: Instruction, s: State) -> list[str]:
        """Change the state; the labels that a jump may go to."""
        name, operands = i.name, i.operands
        if name == "public":
            s.levels[operands[0].register or ""] = PUBLIC
            return []
        if not name.startswith(("lea", "nop", "prefetch")):
            for operand in operands:
                if operand.memory and self._address(operand, s) != PUBLIC:
                    self._report(function, "address", i)
        if name.startswith("j"):
            return self._jump(function, i, s)
        if operands and operands[-1].register == "rbp" and not _COMPARE_ONLY.fullmatch(name):
            s.base = s.stack if name.startswith("movq") and operands[0].register == "rsp" else None
        if name.startswith("call"):
            self._call(function, operands[0], s, depth=0)
        elif name.startswith("push"):
            level = self._read(operands[0], s)
            s.stack -= 8
            s.cells[s.frame, s.stack] = level
        elif name.startswith("popq"):  # and no popcnt
            self._write(operands[0], s.cells.get((s.frame, s.stack), PUBLIC), s)
            s.stack += 8
        elif operands and operands[-1].register == "rsp":
            self._move_stack(i, s)
        elif not name.startswith(("ret", "ud2", "vzero", "nop", "prefetch", "pause")):
            self._compute(function, i, s)
        return []

    def _move_stack(self, i: Instruction, s: State) -> None:
        first = i.operands[0]
        amount = re.fullmatch(r"\$(-?\d+)", first.text)
        if amount and i.name.startswith(("add", "sub")):
            s.stack += int(amount[1]) * (1 if i.name.startswith("add") else -1)
        elif i.name.startswith("and"):
            s.frame, s.stack = "aligned", 0
        elif i.name.startswith("lea") and first.base == "rsp":
            s.stack += first.displacement or 0
        else:  # leave by the frame pointer: nothing but pops and a return follows
            s.frame, s.stack = "rsp", (first.displacement or 0) if i.name.startswith("lea") else 0
            s.cells = {key: level for key, level in s.cells.items() if key[0] == "rsp"}

    def _jump(self, function: Function, i: Instruction, s: State) -> list[str]:
        target = i.operands[0]
        if i.name.startswith("jmp"):
            if target.text in function.labels:
                return [target.text]
            symbol = target.text if target.memory and target.displacement is None else ""
            symbol = s.symbols.get(target.register or "", symbol)
            if symbol and not symbol.startswith(".L"):
                self._call(function, target, s, depth=8)  # a tail call
                return []
            assert function.switched, f"{short_name(function.name)}: {i.text} goes to an unknown place"
            if self._read(target, s) != PUBLIC:
                self._report(function, "jump", i)
            return function.switched
        condition = i.name[1:]
        level = s.level("rcx") if condition in ("rcxz", "ecxz") else self._flags(condition, s)
        if level != PUBLIC:
            self._report(function, "jump", i)
        return [target.text]

    @staticmethod
    def _flags(condition: str, s: State) -> int:
        if condition in _CARRY:
            return s.level("cf")
        if condition in _CARRY_AND_ZERO:
            return max(s.level("cf"), s.level("zf"))
        return s.level("zf")

    def _call(self, function: Function, target: Operand, s: State, depth: int) -> None:
        """`depth`: what a tail call has already taken off the stack."""
        symbol = s.symbols.get(target.register or "") or target.text.split("@")[0]
        if symbol in self.functions:
            entry = State(levels={name: s.level(name) for name in ARGUMENTS})
            for (frame, offset), level in s.cells.items():
                if frame == s.frame and offset >= s.stack:
                    entry.cells["rsp", offset - s.stack + 8 - depth] = level
            if self.entries[symbol].absorb(entry) and symbol not in self._waiting:
                self._waiting.append(symbol)
        elif symbol in self.arities:
            arguments = [s.level(name) for name in ARGUMENTS[: min(6, self.arities[symbol])]]
            if SECRET in arguments:
                self._report(function, "address", Instruction("call", (target,), f"argument of {symbol}"))
        s.levels = {name: s.level(name) for name in PRESERVED}
        s.symbols = {name: value for name, value in s.symbols.items() if name in PRESERVED}

    def _compute(self, function: Function, i: Instruction, s: State) -> None:
        name, operands = i.name, i.operands
        if name.startswith(("div", "idiv")) or re.match(r"v(div|sqrt)", name):
            if max([self._read(o, s) for o in operands] + [s.level("rax"), s.level("rdx")]) != PUBLIC:
                self._report(function, "division", i)
            s.levels["rax"] = s.levels["rdx"] = max(s.level("rax"), s.level("rdx"))
            return
        if name in ("cqto", "cltd"):
            s.levels["rdx"] = SECRET if s.level("rax") else PUBLIC
            return
        if name == "cltq":
            return
        *sources, target = operands
        levels = [self._read(operand, s) for operand in sources]
        if name.startswith("mov") and target.register and sources[0].text.startswith("$"):
            s.levels[target.register] = PUBLIC
            if not re.match(r"\$-?\d", sources[0].text):
                s.symbols[target.register] = sources[0].text[1:].strip('"')
            else:
                s.symbols.pop(target.register, None)
            return
        symbol = s.symbols.get(sources[0].register or "") if name.startswith("movq") else None
        result = self._result(i, s, levels)
        if _COMPARE_ONLY.fullmatch(name):
            s.levels["cf"] = s.levels["zf"] = max([result, self._read(target, s)])
            return
        one_operand_product = name.startswith(("mul", "imul")) and not name.startswith("mulx") and not sources
        if one_operand_product:
            result = SECRET if max(self._read(target, s), s.level("rax")) else PUBLIC
            s.levels["rax"] = s.levels["rdx"] = result
        elif name.startswith("mulx"):
            result = SECRET if max(self._read(sources[0], s), s.level("rdx")) else PUBLIC
            self._write(sources[1], result, s)
            self._write(target, result, s)
        elif name.startswith("xchg"):
            before = self._read(target, s)
            self._write(target, levels[0], s)
            self._write(sources[0], before, s)
        else:
            self._write(target, result, s, width=_WIDTHS.get(name[-1], 8) if not name.startswith("v") else None)
        if target.register:
            s.symbols.pop(target.register, None)
            if symbol:
                s.symbols[target.register] = symbol
        if not name.startswith((*_NO_FLAGS, *_NO_FLAGS_EITHER)):
            s.levels["zf"] = result
            if not name.startswith(("inc", "dec")):
                s.levels["cf"] = result

    def _result(self, i: Instruction, s: State, levels: list[int]) -> int:
        """The level of what the instruction computes."""
        name, (*sources, target) = i.name, i.operands
        if self._constant(i):
            return PUBLIC
        if name.startswith("lea"):
            address = sources[0]
            base, index = s.level(address.base), s.level(address.index)
            if index and (address.scale > 1 or base):
                return SECRET
            if address.base == "rsp" and address.index is None and address.displacement is not None:
                s.cells[s.frame, (s.stack + address.displacement) // 8 * 8] = WORD
            return max(base, index)
        inputs = list(levels)
        if name.startswith("cmov"):
            inputs += [self._read(target, s), self._flags(re.sub(r"^cmov|[wlq]$", "", name), s)]
            return max(inputs)  # one of the two words, or a secret choice
        if name.startswith("set"):
            return SECRET if self._flags(name[3:], s) else PUBLIC
        copies = name.startswith(("mov", "vmov", "kmov", "vpbroadcast", "vbroadcast"))
        reads_target = name.startswith(_ACCUMULATE) or not name.startswith(
            ("mov", "v", "k", "rorx", "shlx", "shrx", "sarx", "andn", "bzhi", "bextr", "blsr", "blsi", "pext", "pdep")
        )
        if name.startswith(("imul", "lzcnt", "tzcnt", "popcnt")) and len(sources) == (2 if name[0] == "i" else 1):
            reads_target = False
        if target.mask:
            inputs.append(s.level(target.mask) and SECRET)
            reads_target = reads_target or not target.zeroing
        if reads_target:
            inputs.append(self._read(target, s))
        if name.startswith(("adc", "sbb", "rcl", "rcr")):
            inputs.append(s.level("cf") and SECRET)
        highest = max(inputs, default=PUBLIC)
        if copies or highest == PUBLIC:
            return highest
        if _KEEPS_WORD.match(name) and highest == WORD and inputs.count(WORD) == 1:
            return WORD
        return SECRET

    @staticmethod
    def _constant(i: Instruction) -> bool:
        """x ^ x, x - x and all ones, whatever was in x."""
        texts = {operand.text for operand in i.operands}
        if re.match(r"(v?p?xor|v?psub|sub|vxorp|kxnor|kxor|vpcmpeq)", i.name):
            sources = i.operands[:-1] if len(i.operands) == 3 else i.operands
            return len(i.operands) > 1 and len({operand.text for operand in sources}) == 1
        return i.name.startswith("vpternlog") and "$255" in texts

    # -- operands ------------------------------------------------------------------------------------------------

    @staticmethod
    def _address(operand: Operand, s: State) -> int:
        """PUBLIC, or SECRET for an address that a secret has part in."""
        base, index = s.level(operand.base), s.level(operand.index)
        if SECRET in (base, index) or (index and (operand.scale > 1 or base)):
            return SECRET
        return PUBLIC

    @staticmethod
    def _touched(operand: Operand, s: State, width: int) -> list[tuple[str, int]] | None:
        """The stack cells of an operand in the frame; None for other memory."""
        assert operand.displacement is not None
        if not s.in_frame(operand.base):
            return None
        frame, start = (s.frame, s.stack) if operand.base == "rsp" else ("rsp", s.base or 0)
        start += operand.displacement
        return [(frame, offset) for offset in range(start // 8 * 8, start + width, 8)]

    def _read(self, operand: Operand, s: State) -> int:
        if operand.register:
            return s.level(operand.register)
        constant = s.symbols.get(operand.base or "", "").startswith((".LCPI", ".LJTI"))
        if not operand.memory or operand.base == "rip" or operand.displacement is None or constant:
            return PUBLIC
        if s.in_frame(operand.base):
            if operand.index:
                return max([s.indexed, *s.cells.values()])
            cells = self._touched(operand, s, 8) or []
            return max([s.indexed, *(s.cells.get(cell, PUBLIC) for cell in cells)])
        self.loads += 1
        return WORD

    def _write(self, operand: Operand, level: int, s: State, width: int | None = None) -> None:
        if operand.register:
            s.levels[operand.register] = level
        elif operand.memory and s.in_frame(operand.base):
            if operand.index:
                s.indexed = max(s.indexed, level)
                return
            size = 64 if width is None else width
            for cell in self._touched(operand, s, size) or []:
                partial = size < 8 or width is None
                s.cells[cell] = max(level, s.cells.get(cell, PUBLIC)) if partial else level
