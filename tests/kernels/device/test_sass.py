"""The analysis of NVIDIA machine code itself: on lines written by hand, and on kernels with a leak planted in them."""

from __future__ import annotations

import pytest

from hecore.kernels import device
from tests.kernels.device import cubin, sass
from tests.kernels.device.cubin import KernelInfo, Resources
from tests.kernels.device.cuda_table import looked_at
from tests.kernels.device.sass import PREDICATES, STACK, UNIFORM, UNIFORM_PREDICATES, UnknownInstruction
from tests.kernels.device.sass_analysis import Findings, analysed

ARGUMENTS = [("u32*", "out"), ("const u32*", "a"), ("const u32*", "index"), ("u32", "count")]
INFO = KernelInfo(Resources(32, 0, 0), ((0x160, 8), (0x168, 8), (0x170, 8), (0x178, 4)))
P, U, UP = PREDICATES, UNIFORM, UNIFORM_PREDICATES


def line(text: str) -> str:
    return f"{text}:" if text.startswith(".L") else f"        /*0000*/                   {text} ;"


@pytest.mark.parametrize(
    ("text", "written", "read", "address"),
    [
        ("IADD3 R4, P1, R2.reuse, -R3, RZ", {4, P + 1}, {2, 3}, set()),
        ("IADD3.X R4, R2, c[0x0][0x16c], RZ, P1, !PT", {4}, {2, P + 1}, set()),
        ("@!P2 IMAD.WIDE.U32 R6, P0, R2, R4, R8", {6, 7, P}, {2, 4, 8, 9}, set()),
        ("IMAD.HI.U32 R3, R3, R5, R2", {3}, {2, 3, 5}, set()),
        ("UIMAD.WIDE.U32.X UR4, UR10, -0x5, UR8, UP0", {U + 4, U + 5}, {U + 10, U + 8, U + 9, UP}, set()),
        ("LEA.HI.X R5, R2, UR5, R3, 0x2, P0", {5}, {2, 3, U + 5, P}, set()),
        ("ISETP.GE.U32.AND.EX P0, PT, R21, R13, PT, P0", {P}, {21, 13, P}, set()),
        ("DSETP.GEU.AND P0, PT, R2, R6, PT", {P}, {2, 3, 6, 7}, set()),
        ("LOP3.LUT P1, RZ, R8, 0x3, RZ, 0xc0, !PT", {P + 1}, {8}, set()),
        ("PLOP3.LUT P2, PT, P0, PT, UP0, 0x80, 0x0", {P + 2}, {P, UP}, set()),
        ("DFMA R4, R6, R8, -R10", {4, 5}, {6, 7, 8, 9, 10, 11}, set()),
        ("CS2R R8, SRZ", {8, 9}, set(), set()),
        ("I2F.F64.U32 R2, UR4", {2}, {U + 4, U + 5}, set()),
        ("SHFL.IDX PT, R5, R4, R3, 0x1f", {5}, {4, 3}, {3}),
        ("LDG.E.128.CONSTANT R8, desc[UR6][R10.64+0x8]", {8, 9, 10, 11}, set(), {U + 6, 10, 11}),
        ("LDS.64 R2, [R0.X4+UR4+0x10]", {2, 3}, set(), {0, U + 4}),
        ("STG.E.64 [R2.64], R4", set(), {4, 5}, {2, 3}),
        ("STL.64 [R1+0x8], R44", {STACK + 2, STACK + 3}, {44, 45}, set()),
        ("LDL.LU R90, [R1]", {90}, {STACK}, set()),
        ("RET.REL.NODEC R2 `(kernel)", set(), {2, 3}, set()),
    ],
)
def test_instructions_are_read(text: str, written: set[int], read: set[int], address: set[int]) -> None:
    found = sass.instruction(line(text))
    assert set(found.written) == written
    assert set(found.read) == read
    assert set(found.address) == address


@pytest.mark.parametrize(
    "text", ["HMMA.16816.F32 R4, R8, R12, R4", "LDL R4, [R6]", "IADD.64 R2, R4, R6", "STS R4, R5", "BRX R6"]
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(UnknownInstruction):
        sass.instruction(line(text))


def by_hand(*code: str, public: tuple[str, ...] = ()) -> Findings:
    listing = "\n".join(['\t.section\t.text.kernel,"ax",@progbits', *map(line, code)])
    return analysed(sass.parse(listing, ["kernel"])["kernel"], INFO, ARGUMENTS, public)


A = ("IMAD.MOV.U32 R2, RZ, RZ, c[0x0][0x168]", "IMAD.MOV.U32 R3, RZ, RZ, c[0x0][0x16c]", "LDG.E R4, [R2.64]")
INDEX = tuple(text.replace("0x16", "0x17").replace("0x178", "0x170").replace("0x17c", "0x174") for text in A)
LOOP = (".L_1", "IADD3 R9, R9, 0x1, RZ")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ((*A, "ISETP.NE.AND P0, PT, R4, RZ, PT", "@P0 BRA `(.L_2)", ".L_2", "EXIT"), ["jump"]),
        ((*A, "ISETP.NE.AND P0, PT, R5, RZ, PT", "@P0 BRA `(.L_2)", ".L_2", "EXIT"), []),
        ((*A, "ISETP.NE.AND P0, PT, R4, RZ, PT", "@P0 EXIT", "EXIT"), ["jump"]),
        ((*A, "ISETP.NE.AND P0, PT, R4, RZ, PT", "@!P0 BREAK B0", "EXIT"), ["jump"]),
        ((*A, "R2UR UR4, R4", "UISETP.NE.AND UP0, UPT, UR4, URZ, UPT", "BRA UP0, `(.L_2)", ".L_2", "EXIT"), ["jump"]),
        ((*A, "VOTE.ANY P1, P0", "ISETP.NE.OR P0, PT, R4, RZ, P1", "VOTE.ANY R6, PT, P0", "WARPSYNC R6"), ["jump"]),
        ((*A, "IADD3 R6, P1, R4, R5, RZ", "IADD3.X R7, RZ, RZ, RZ, P1, !PT", "LDS R8, [R7]", "EXIT"), ["address"]),
        ((*A, "IMAD.WIDE.U32 R6, R4, 0x4, R2", "LDG.E R8, [R6.64]", "EXIT"), ["address"]),
        ((*A, "STS [R4], R5", "EXIT"), ["address"]),
        ((*A, "LDC R6, c[0x3][R4+0x10]", "EXIT"), ["address"]),
        ((*A, "SHFL.IDX PT, R6, R7, R4, 0x1f", "EXIT"), ["address"]),
        ((*A, "ISETP.NE.AND P0, PT, R4, RZ, PT", "@P0 LDS R6, [R7]", "EXIT"), ["address"]),
        ((*A, "ISETP.NE.AND P0, PT, R4, RZ, PT", "@P0 IADD3 R6, R6, 0x1, RZ", "STS [R7], R6", "EXIT"), []),
        ((*A, "ISETP.NE.AND P0, PT, R4, RZ, PT", "@P0 MOV R7, RZ", "STS [R7], R6", "EXIT"), ["address"]),
        ((*A, "SEL R6, R4, R5, P0", "LDS R7, [R6]", "EXIT"), ["address"]),
        ((*A, "STS [R7], R4", "LDS R6, [R8]", "LDS R9, [R6]", "EXIT"), ["address"]),
        (("LDS R6, [R8]", "LDS R9, [R6]", *A, "STS [R7], R4", "EXIT"), ["address"]),
        ((*A, "STL [R1+0x4], R4", "LDL R6, [R1+0x4]", "LDS R9, [R6]", "EXIT"), ["address"]),
        ((*A, "STL [R1+0x4], R4", "LDL R6, [R1+0x8]", "LDS R9, [R6]", "EXIT"), []),
        ((*LOOP, "ISETP.NE.AND P0, PT, R6, R9, PT", *A, "MOV R6, R4", "@P0 BRA `(.L_1)", "EXIT"), ["jump"]),
        (
            (*A, "CALL.REL.NOINC `(.L_3)", "LDS R6, [R8]", "EXIT", ".L_3", "MOV R8, R4", "RET.REL.NODEC R10"),
            ["address"],
        ),
        # what a predicate holds for
        ((*A, "ISETP.NE.AND P1, PT, R5, RZ, PT", "@P1 MOV R4, R5", "@P1 LDS R6, [R4]", "EXIT"), []),
        ((*A, "ISETP.NE.AND P1, PT, R5, RZ, PT", "@P1 MOV R4, R5", "@!P1 LDS R6, [R4]", "EXIT"), ["address"]),
        ((*A, "@P1 MOV R4, R5", "ISETP.NE.AND P1, PT, R5, RZ, PT", "@P1 LDS R6, [R4]", "EXIT"), ["address"]),
        ((*A, "@P1 MOV R4, R5", "MOV R6, R4", "@P1 LDS R6, [R6]", "EXIT"), []),
        ((*A, "@P1 MOV R6, R5", "@P2 MOV R6, R4", "@P1 LDS R6, [R6]", "EXIT"), ["address"]),
        ((*A, "@P1 MOV R4, R5", "SHFL.IDX PT, R6, R4, RZ, 0x1f", "@P1 LDS R6, [R6]", "EXIT"), ["address"]),
        ((*A, "@P1 MOV R4, R5", "R2UR UR4, R4", "@P1 LDS R6, [UR4]", "EXIT"), ["address"]),
        ((*A, "@P1 MOV R4, R5", "@P1 BRA `(.L_5)", "EXIT", ".L_5", "LDS R6, [R4]", "EXIT"), []),
        ((*A, "@P1 MOV R4, R5", "@!P1 BRA `(.L_5)", "EXIT", ".L_5", "LDS R6, [R4]", "EXIT"), ["address"]),
        ((*A, "@P1 MOV R4, R5", "@!P1 BRA `(.L_5)", "LDS R6, [R4]", ".L_5", "EXIT"), []),
        ((*A, "@P1 MOV R4, R5", "@P1 BRA `(.L_5)", "LDS R6, [R4]", ".L_5", "EXIT"), ["address"]),
        ((*A, "@P1 MOV R4, R5", "@!P1 BRA P2, `(.L_5)", "LDS R6, [R4]", ".L_5", "EXIT"), ["address"]),
        ((*A, "@P1 MOV R4, R5", "@!P1 EXIT", "LDS R6, [R4]", "EXIT"), []),
        ((*A, "@P1 MOV R4, R5", "@!P1 BREAK B0", "LDS R6, [R4]", "EXIT"), ["address"]),
        # where threads meet that waited for each other
        ((*A, "BSSY B0, `(.L_4)", "MOV R6, R4", "BSYNC B0", "MOV R6, RZ", ".L_4", "LDS R7, [R6]", "EXIT"), ["address"]),
        ((*A, "BSSY B0, `(.L_4)", "MOV R6, R4", "BSYNC B0", ".L_4", "MOV R6, RZ", "LDS R7, [R6]", "EXIT"), []),
    ],
)
def test_the_analysis_itself(code: tuple[str, ...], expected: list[str]) -> None:
    assert {violation.kind for violation in by_hand(*code).violations} == set(expected)


def test_words_of_public_arguments_are_public() -> None:
    code = (*INDEX, "LDS R6, [R4]", "EXIT")
    assert {v.kind for v in by_hand(*code).violations} == {"address"}
    found = by_hand(*code, public=("index",))
    assert (found.violations, found.loads) == (set(), 0)
    either = ("SEL R2, R2, R6, P0", "SEL R3, R3, R7, P0", "LDG.E R4, [R2.64]", "LDS R6, [R4]", "EXIT")
    other = ("IMAD.MOV.U32 R6, RZ, RZ, c[0x0][0x168]", "IMAD.MOV.U32 R7, RZ, RZ, c[0x0][0x16c]")
    assert {v.kind for v in by_hand(*INDEX, *other, *either, public=("index",)).violations} == {"address"}


def test_a_word_of_an_address_is_that_of_its_own_argument() -> None:
    """The upper word of one lies beside the lower word of the next."""
    high = ("LEA R2, P0, R9, c[0x0][0x168], 0x2", "LEA.HI.X R3, R9, c[0x0][0x16c], RZ, 0x2, P0", *A[2:])
    both = ("IMAD.WIDE.U32 R2, R9, 0x4, c[0x0][0x168]", *A[2:])
    for code in (high, both):
        found = by_hand(*code, "LDS R6, [R4]", "EXIT", public=("a",))
        assert (found.violations, found.loads) == (set(), 0)


# -- planted leaks, through the compiler ----------------------------------------------------------------------------

KERNEL = """
CONSTANT_TABLE u32 squares[4] = {0, 1, 4, 9};
KERNEL(kernel)(GLOBAL u32* out, GLOBAL const u32* a, GLOBAL const u32* index, u32 count) {
    LOCAL_ARRAY u32 tile[BLOCK];
    const u32 t = BLOCK_ID * BLOCK + THREAD_ID, word = a[t];
    tile[THREAD_ID] = word;
    BARRIER();
    out[count + t] = tile[THREAD_ID ^ 1] + squares[count & 3] + index[count];
    %s
}
"""


def planted(body: str, capability: str, public: tuple[str, ...] = ()) -> Findings:
    cubin.versions()
    source = device.source("wipe", "cuda") + KERNEL % body
    binary = cubin.compiled(source, {"BLOCK": 128, "LANES": 1}, capability)
    return looked_at(binary, "kernel", ARGUMENTS, public)


@pytest.mark.parametrize("capability", cubin.CAPABILITIES)
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("for (u32 i = 0; i < word % 5; i++) out[t + i] = count;", "jump"),
        ("if (word > count) for (u32 i = 0; i < count; i++) out[t + i] += count;", "jump"),
        ("if (word == 0) return; BARRIER(); out[t] = tile[count];", "jump"),
        ("out[t] = (u32)((u64)word * count / ((u64)word * t + 1));", "jump"),
        ("out[t] = a[word & 31];", "address"),
        ("out[word & 31] = count;", "address"),
        ("out[t] = tile[tile[count] & 31];", "address"),
        ("out[t] = squares[word & 3];", "address"),
        ("out[t] = __shfl_sync(0xffffffffu, t, word & 31, 32);", "address"),
        ("if (word & 1) out[t] = count;", "jump"),
        ("if (word & 1) tile[t & 63] = count; BARRIER(); out[t] = tile[5];", "address"),
        ("out[t] = a[index[t]];", "address"),
    ],
)
def test_a_planted_leak_is_seen(body: str, expected: str, capability: str) -> None:
    assert expected in {violation.kind for violation in planted(body, capability).violations}


@pytest.mark.parametrize("capability", cubin.CAPABILITIES)
@pytest.mark.parametrize(
    ("body", "public"),
    [
        ("out[t] = word > count ? count : t;", ()),
        ("u32 sum = 0; for (u32 i = 0; i < count; i++) sum += a[i] * word; out[t] = sum;", ()),
        ("out[t] = __shfl_sync(0xffffffffu, word, count, 32);", ()),
        ("out[t] = a[index[t]] ^ squares[count & 3];", ("index",)),
    ],
)
def test_what_leaks_nothing_passes(body: str, public: tuple[str, ...], capability: str) -> None:
    found = planted(body, capability, public)
    assert found.violations == set()
    assert found.loads > 0


@pytest.mark.parametrize("capability", cubin.CAPABILITIES)
def test_binaries_tell_what_they_take(capability: str) -> None:
    cubin.versions()
    source = device.source("wipe", "cuda") + KERNEL % "out[t] = tile[count];"
    info = cubin.kernels(cubin.compiled(source, {"BLOCK": 128, "LANES": 1}, capability))["kernel"]
    reserved = {"80": 0, "90": 1024}[capability]  # by the system, of each block
    assert info.resources.shared == 4 * 128 + reserved
    assert info.resources.local == 0
    assert 8 <= info.resources.registers <= 32
    start = info.parameters[0][0]
    assert info.parameters == ((start, 8), (start + 8, 8), (start + 16, 8), (start + 24, 4))
    local = KERNEL % "u32 x[64]; for (u32 i = 0; i < 64; i++) x[a[i] & 63] = i; out[t] = x[count];"
    source = device.source("wipe", "cuda") + local
    spilling = cubin.compiled(source, {"BLOCK": 128, "LANES": 1}, capability)
    assert cubin.kernels(spilling)["kernel"].resources.local >= 256
    with pytest.raises(UnknownInstruction):
        looked_at(spilling, "kernel", ARGUMENTS, ())


def test_warnings_of_the_compiler_are_failures() -> None:
    cubin.versions()
    with pytest.raises(cubin.CompileFailed, match="never referenced"):
        planted("u32 unused = 0;", "90")
