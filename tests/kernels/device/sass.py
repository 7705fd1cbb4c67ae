"""NVIDIA machine code as `nvdisasm` prints it: read into kernels of instructions, each with what it reads and writes.

A place is a number: general registers R0 … R254 are 0 …, uniform ones UR0 … follow from UNIFORM on, predicates
P0 … P6 from PREDICATES on, uniform predicates from UNIFORM_PREDICATES on, and from STACK on the words of a thread's
stack, which lie at fixed places from R1 on (registers put aside). RZ and PT, which are constants, are no places.

What an instruction writes stands first, but how many of its operands that are, and how many registers each, depends on
the instruction. The lists below hold what the kernels are compiled to for the cards that tests compile for; anything
else is refused, so that nothing is read wrongly in silence.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field, replace

UNIFORM, PREDICATES, UNIFORM_PREDICATES, STACK, PLACES = 256, 320, 328, 336, 464

_LINE = re.compile(r"\s+/\*([0-9a-f]+)\*/\s+(?:@(!?)(U?P[0-6T])\s+)?([A-Z][A-Z0-9_.]*)\s*(.*?)\s*;?$")
_REMARK = re.compile(r"\(\*.*?\*\)")
_LABEL = re.compile(r"([.$\w]+):$")
_SECTION = re.compile(r"\.section\s+\.text\.([$\w]+)")
_REGISTER = re.compile(r"\b(UR|R|UP|P)(\d+)\b(\.64)?")
_CONSTANT = re.compile(r"c\[0x([0-9a-f]+)\]\s*\[([^]]*)\]")
_STACK = re.compile(r"\[R1(?:\+0x([0-9a-f]+))?\]")
_GOES = re.compile(r"`\(([.$\w]+)\)")


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Written: the first operand, and predicates that stand right behind it (carries).
_PLAIN = _names(
    "BMSK BREV CS2R DADD DFMA DMUL F2F F2I FADD FFMA FLO FMNMX FMUL FSEL HFMA2 I2F I2FP IABS IADD3 IMAD IMNMX LEA LOP3 "
    "MOV MUFU POPC PRMT R2UR S2R S2UR SEL SGXT SHF UFLO UIADD3 UIMAD ULEA ULOP3 UMOV UPOPC UPRMT USEL USGXT USHF "
    "VABSDIFF VIADD VIADDMNMX VIMNMX"
)
_COMPARES = _names("DSETP FSETP ISETP PLOP3 UISETP UPLOP3")  # written: two predicates
_EXCHANGES = _names("SHFL VOTE VOTEU")  # written: a predicate and a register, either first
_CONSTANTS = _names("LDC ULDC")
_LOADS = _names("LDG LDS")
_STORES = _names("STG STS")
_JUMPS = _names("BRA BREAK BSSY BSYNC CALL EXIT RET WARPSYNC")
_GOING = _names("BRA CALL")
_DECIDING = _names("BRA CALL EXIT RET")  # threads for which the predicate does not hold go on behind them
_WAITS = _names("BAR DEPBAR ERRBAR MEMBAR NANOSLEEP NOP YIELD")
_DOUBLES = _names("DADD DFMA DMUL")
_CONVERSIONS = _names("F2F F2I I2F")
_WORDS = {"64": 2, "128": 4}


class UnknownInstruction(AssertionError):  # noqa: N818 - it fails the test
    """Something that this file does not know how to read."""


@dataclass(frozen=True)
class Constant:
    """Words of constant memory; `index`: the places that choose among them."""

    bank: int
    offset: int
    words: int
    index: tuple[int, ...]


@dataclass(frozen=True)
class Instruction:
    """`kind`: "load", "store", "jump", "exchange" or "compute". `guard`: the place of the predicate that it runs under,
    and `guarded` how it does. `written` surely, `touched` perhaps. `address`: the places that make up an address in
    memory, or a lane. `memory`: "global", "shared" or "".
    """

    text: str
    name: str
    guard: tuple[int, ...]
    guarded: str  # "": always runs
    kind: str = "compute"
    written: tuple[int, ...] = ()
    touched: tuple[int, ...] = ()
    read: tuple[int, ...] = ()
    address: tuple[int, ...] = ()
    constants: tuple[Constant, ...] = ()
    memory: str = ""
    target: str = ""


@dataclass
class Function:
    """One kernel, its subroutines included."""

    name: str
    code: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)

    def blocks(self) -> list[Block]:
        """Cut where jumps start and end."""
        starts = {0, *(self.labels[x.target] for x in self.code if x.target and x.name != "RET")}
        starts |= {i + 1 for i, instruction in enumerate(self.code) if instruction.kind == "jump"}
        edges = sorted(start for start in starts if start < len(self.code))
        ends = [*edges[1:], len(self.code)]
        number = {start: i for i, start in enumerate(edges)}
        returns = [number[i + 1] for i, x in enumerate(self.code) if x.name == "CALL" and i + 1 in number]
        found = []
        for start, end in zip(edges, ends, strict=True):
            last = self.code[end - 1]
            following = []
            if last.name == "RET":
                following += returns
            elif last.name in _GOING:
                following.append(number[self.labels[last.target]])
            # Both ways out of a branch with an operand of its own, too: it may be a condition.
            stops = last.name in ("EXIT", "RET") or (last.name in _GOING and not last.read)
            ways = dict.fromkeys(following, last.guarded)
            if (not stops or last.guarded) and end in number:
                decides = last.name in _DECIDING and not last.read and number[end] not in ways
                ways[number[end]] = opposite(last.guarded) if decides else ""
            found.append(Block(self.code[start:end], ways))
        _add_meetings(found, {label: number[at] for label, at in self.labels.items() if at in number})
        return found


def _add_meetings(blocks: list[Block], places: Mapping[str, int]) -> None:
    """A BSSY says where threads go on that wait at a BSYNC of its barrier: added to the ways of all that it reaches."""
    known: dict[int, dict[str, frozenset[int]]] = {0: {}}
    waiting = [0]
    while waiting:
        here = waiting.pop()
        block, meetings = blocks[here], dict(known[here])
        last = block.code[-1]
        if last.name == "BSSY":
            meetings[_barrier(last)] = frozenset({places[last.target]})
        if last.name == "BSYNC":
            block.ways |= dict.fromkeys(meetings.get(_barrier(last), frozenset()), "")
        for following in block.ways:
            before = known.get(following)
            after = {} if before is None else dict(before)
            for barrier, targets in meetings.items():
                after[barrier] = after.get(barrier, frozenset()) | targets
            if after != before:
                known[following] = after
                waiting.append(following)


def _barrier(i: Instruction) -> str:
    found = re.search(r"\bB\d+\b", i.text)
    if not found:
        raise UnknownInstruction(i.text)
    return found[0]


def opposite(guarded: str) -> str:
    return guarded[1:] if guarded[:1] in ("!", "") else f"!{guarded}"


@dataclass
class Block:
    """Instructions of which the last alone may jump, and the blocks that may come next: for threads for which a
    predicate holds, or all ("").
    """

    code: list[Instruction]
    ways: dict[int, str]


def parse(listing: str, names: Container[str]) -> dict[str, Function]:
    """These kernels of a listing."""
    found: dict[str, Function] = {}
    current: Function | None = None
    for line in listing.splitlines():
        section, label = _SECTION.search(line), _LABEL.match(line)
        if section:
            current = found.setdefault(section[1], Function(section[1])) if section[1] in names else None
        elif label and current is not None:
            current.labels[label[1]] = len(current.code)
        elif line.lstrip().startswith("/*") and current is not None:
            current.code.append(instruction(line))
    return found


def instruction(line: str) -> Instruction:
    """One line, with its place in front."""
    matched = _LINE.match(_REMARK.sub("", line).rstrip())
    if not matched:
        raise UnknownInstruction(line)
    _, negated, guard, opcode, rest = matched.groups()
    name, *modifiers = opcode.split(".")
    text = f"{'@' + negated + guard + ' ' if guard else ''}{opcode} {rest}".strip()
    guarded = "" if guard in (None, "PT", "UPT") and not negated else f"{negated}{guard}"
    return _filled(Instruction(text, name, tuple(_places(guard or "", 1)), guarded), modifiers, list(_operands(rest)))


def _filled(i: Instruction, modifiers: list[str], operands: list[str]) -> Instruction:
    """What it does, and with which places."""
    name, wide = i.name, max((_WORDS[m] for m in modifiers if m in _WORDS), default=1)
    if name == "LDL":
        return replace(i, written=_read(operands[:1], wide), read=_slots(operands[1], wide))
    if name == "STL":
        return replace(i, written=_slots(operands[0], wide), read=_read(operands[1:], wide))
    if name in _CONSTANTS | _LOADS:
        if len(operands) != 2 or not re.match(r"U?R", operands[0]):
            raise UnknownInstruction(i.text)
        loaded = replace(i, written=_read(operands[:1], wide))
        if name in _CONSTANTS:
            return replace(loaded, constants=_constants(operands[1], wide))
        return replace(loaded, kind="load", address=_read(operands[1:], 1), memory=_space(name))
    if name in _STORES:
        if len(operands) != 2 or "[" not in operands[0]:
            raise UnknownInstruction(i.text)
        address, word = _read(operands[:1], 1), _read(operands[1:], wide)
        return replace(i, kind="store", address=address, read=word, memory=_space(name))
    if name in _JUMPS | _WAITS:
        goes = _GOES.search(i.text)
        return replace(i, kind="jump", read=_read(operands, 2 if name == "RET" else 1), target=goes[1] if goes else "")
    if name in _EXCHANGES:
        count = 2 if name == "SHFL" or not re.match(r"U?P", operands[0]) else 1
        lane = _read(operands[3:4], 1) if name == "SHFL" else ()
        written, read = _read(operands[:count], 1), _read(operands[count:], 1)
        return replace(i, kind="exchange", written=written, read=read, address=lane)
    if name == "P2R":
        every = tuple(range(PREDICATES, UNIFORM_PREDICATES))
        return replace(i, written=_read(operands[:1], 1), read=every + _read(operands[2:], 1))
    if name in _COMPARES:
        words = 2 if name.startswith("D") else 1
        constants = tuple(c for operand in operands for c in _constants(operand, words))
        return replace(i, written=_read(operands[:2], 1), read=_read(operands[2:], words), constants=constants)
    if name not in _PLAIN:
        raise UnknownInstruction(i.text)
    return _computed(i, modifiers, operands)


def _computed(i: Instruction, modifiers: list[str], operands: list[str]) -> Instruction:
    name, count = i.name, 1
    if re.match(r"U?P", operands[0]):  # LOP3 with a predicate for "not zero", and the word itself
        count = 2
    else:  # what ends in a predicate reads it, which never stands right behind what is written
        while count < len(operands) and re.fullmatch(r"U?P[0-6T]", operands[count]):
            count += 1
    double, conversion, shift = name in _DOUBLES, name in _CONVERSIONS, name in ("SHF", "USHF")
    from_or_to_64 = any(m.endswith("64") for m in modifiers)
    if count == len(operands) or (from_or_to_64 and not conversion and not shift):
        raise UnknownInstruction(i.text)
    product = name in ("IMAD", "UIMAD") and modifiers[:1] in (["WIDE"], ["HI"])
    pair = double or (product and modifiers[0] == "WIDE") or (name == "CS2R" and "32" not in modifiers)
    sources, words = operands[count:], 2 if double or (conversion and from_or_to_64) else 1
    read, constants = _read(sources, words), [c for source in sources for c in _constants(source, words)]
    if product:  # the addend is as wide as the product
        read += _read(sources[2:3], 2)
        constants += [c for source in sources[2:3] for c in _constants(source, 2)]
    return replace(
        i,
        written=_read(operands[:1], 2 if pair else 1) + _read(operands[1:count], 1),
        touched=_read(operands[:1], 2)[1:] if conversion and from_or_to_64 else (),
        read=read,
        constants=tuple(constants),
    )


def _space(name: str) -> str:
    return {"G": "global", "S": "shared"}[name[2]]


def _slots(operand: str, words: int) -> tuple[int, ...]:
    """Words of the stack; an array there that is indexed is refused."""
    found = _STACK.fullmatch(operand)
    first = STACK + int(found[1] or "0", 16) // 4 if found else PLACES
    if first + words > PLACES:
        raise UnknownInstruction(f"local memory at {operand}")
    return tuple(range(first, first + words))


def _operands(text: str) -> Iterator[str]:
    """Cut at commas outside of brackets."""
    depth, start = 0, 0
    for i, character in enumerate(text):
        depth += character in "[(" or -(character in "])")
        if character == "," and depth == 0:
            yield text[start:i].strip()
            start = i + 1
    if text[start:].strip():
        yield text[start:].strip()


def _read(operands: list[str], words: int) -> tuple[int, ...]:
    """All places named by operands, each register with what follows it."""
    return tuple(place for operand in operands for place in _places(operand, words))


def _places(operand: str, words: int) -> list[int]:
    found: list[int] = []
    bare = _CONSTANT.sub(lambda match: match[2], operand)
    for kind, digits, pair in _REGISTER.findall(bare):
        start = {"R": 0, "UR": UNIFORM, "P": PREDICATES, "UP": UNIFORM_PREDICATES}[kind] + int(digits)
        count = 1 if "P" in kind else max(words, 2 if pair else 1)
        found += range(start, start + count)
    return found


def _constants(operand: str, words: int) -> tuple[Constant, ...]:
    found = []
    for bank, inside in _CONSTANT.findall(operand):
        index = tuple(_places(inside, 1))
        offset = re.search(r"0x([0-9a-f]+)$", inside)
        found.append(Constant(int(bank, 16), int(offset[1], 16) if offset else 0, words, index))
    return tuple(found)
