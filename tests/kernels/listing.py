"""x86-64 assembly as LLVM prints it, in AT&T syntax: read into functions of instructions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_BYTE = {"al": "rax", "bl": "rbx", "cl": "rcx", "dl": "rdx", "sil": "rsi", "dil": "rdi", "bpl": "rbp", "spl": "rsp"}


@dataclass(frozen=True)
class Operand:
    """A register, an immediate (`register` and `memory` None/False), or memory at disp + base + index*scale."""

    text: str
    register: str | None = None
    width: int = 8
    memory: bool = False
    base: str | None = None
    index: str | None = None
    scale: int = 1
    displacement: int | None = 0  # None: a symbol
    mask: str | None = None
    zeroing: bool = False


@dataclass(frozen=True)
class Instruction:
    name: str
    operands: tuple[Operand, ...]
    text: str


@dataclass
class Function:
    name: str
    code: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    switched: list[str] = field(default_factory=list)  # where its jump tables lead


def register_name(text: str) -> tuple[str, int]:
    """Canonical name and width in bytes: %r8d -> (r8, 4), %zmm3 -> (v3, 64)."""
    found = re.fullmatch(r"([xyz])mm(\d+)", text)
    if found:
        return "v" + found[2], {"x": 16, "y": 32, "z": 64}[found[1]]
    if re.fullmatch(r"k\d", text) or text in ("rip", "rsp"):
        return text, 8
    if text in _BYTE:
        return _BYTE[text], 1
    found = re.fullmatch(r"(r\d+)([dwb]?)", text)
    if found:
        return found[1], {"": 8, "d": 4, "w": 2, "b": 1}[found[2]]
    found = re.fullmatch(r"([re]?)(ax|bx|cx|dx|si|di|bp|sp)", text)
    if found:
        return "r" + found[2], {"r": 8, "e": 4, "": 2}[found[1]]
    found = re.fullmatch(r"([abcd])h", text)
    assert found, f"unknown register {text}"
    return f"r{found[1]}x", 1


def parse_operand(text: str) -> Operand:
    mask = re.search(r"\{%(k\d)\}", text)
    zeroing = "{z}" in text
    bare = re.sub(r"\s*\{[^}]*\}", "", text).lstrip("*").strip()
    extra = {"mask": mask[1] if mask else None, "zeroing": zeroing}
    if bare.startswith("$"):
        return Operand(bare)
    if bare.startswith("%"):
        name, width = register_name(bare[1:])
        return Operand(bare, register=name, width=width, **extra)  # type: ignore[arg-type]
    found = re.fullmatch(r"([^()]*)(?:\(([^)]*)\))?", bare)
    assert found, f"unknown operand {text}"
    parts = [part.strip() for part in (found[2] or "").split(",")]
    base = register_name(parts[0][1:])[0] if parts[0] else None
    index = register_name(parts[1][1:])[0] if len(parts) > 1 and parts[1] else None
    scale = int(parts[2]) if len(parts) > 2 else 1
    number = re.fullmatch(r"-?\d+", found[1])
    displacement = int(found[1]) if number else (0 if not found[1] else None)
    return Operand(
        bare,
        memory=True,
        base=base,
        index=index,
        scale=scale,
        displacement=displacement,
        **extra,  # type: ignore[arg-type]
    )


def parse(listing: str) -> dict[str, Function]:
    """The functions of an AT&T listing as LLVM prints it."""
    functions: dict[str, Function] = {}
    current = Function("")
    owner: dict[str, Function] = {}
    for line in listing.splitlines():
        if declared := re.fullmatch(r"\s*# public (%\w+)", line):
            current.code.append(Instruction("public", (parse_operand(declared[1]),), line.strip()))
            continue
        text = re.sub(r"\s*#.*", "", line).rstrip()
        label = re.fullmatch(r'"?([^\s"]+)"?:', text)
        if label and not label[1].startswith(".L"):
            current = functions[label[1]] = Function(label[1])
        elif label:
            current.labels[label[1]] = len(current.code)
            owner[label[1]] = current
        elif entry := re.match(r"\t\.(?:quad|long)\t(\.LBB\w+)", text):
            owner[entry[1]].switched.append(entry[1])
        elif text.startswith("\t") and not text.strip().startswith("."):
            name, _, rest = text.strip().replace("\t", " ", 1).partition(" ")
            if name == "lock":
                name, _, rest = rest.strip().replace("\t", " ", 1).partition(" ")
            operands = re.findall(r"(?:[^,(]|\([^)]*\))+", rest) if rest else []
            if name:
                current.code.append(Instruction(name, tuple(map(parse_operand, operands)), text.strip()))
    return {name: function for name, function in functions.items() if function.code}


def short_name(symbol: str) -> str:
    """`read_table` of `_ZN6hecore7kernels3cpu5power10read_tableB2v3...`."""
    rest, parts = symbol.removeprefix("_ZN"), []
    while found := re.match(r"\d+", rest):
        end = found.end() + int(found[0])
        parts.append(rest[found.end() : end])
        rest = rest[end:]
    return parts[-1] if parts else symbol
