"""No branch, address or division depends on a secret: shown on the machine code, for eight lanes and for one.

LLVM may turn masks back into branches, so the source proves nothing. `machine_code` follows what every kernel reads
from memory through its assembly; see there for what the analysis can and cannot see. Everything is compiled anew here,
since Numba keeps no listing of cached code: same source, same compiler, same flags, hence the same machine code.

Kernels outside the analysis: `pippenger` and `bucket_products` pick buckets by digits and labels that are the calling
party's own or public (DESIGN: operation counts must not depend on them, addresses may), `_accumulate` measures the
processor, `accept_below` and `accept_bytes` show which random words they reject, `blake2x_nodes` expands a public seed,
`bitpack`'s kernels see what is sent.
`exponentiate` reads by address (`read_powers_vartime`) where `whole` is False, for public exponents; its
addresses are looked at with `whole` fixed to True.
"""

from __future__ import annotations

import ast
import platform
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import pytest
from numba.core.ccallback import CFunc

from hecore.arith.limbs import limbs_from_ints
from hecore.arith.modulus import CrtModulus, Modulus
from hecore.arith.rns import RnsBasis, ntt_primes
from hecore.backends.cpu import CpuBackend
from hecore.backends.protocol import ExponentArray
from hecore.kernels.cpu import cache as kernel_cache
from hecore.kernels.cpu import elements, long_products, ntt_portable, ntt_rows, ntt_vector, power, vector
from hecore.kernels.cpu.montgomery import MAX_DIGITS
from hecore.kernels.cpu.vector import IFMA, load, peek, select_equal, splat, store
from tests.kernels.listing import parse
from tests.kernels.machine_code import Analysis, Violation

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the analysis reads x86-64 assembly")

VARIABLE_TIME = {
    "bitpack.pack_rows",
    "bitpack.unpack_rows",
    "double_double.from_limbs",  # slots are plaintexts, and floating point is what it is (threat model)
    "double_double.from_natural",
    "double_double.multiply",
    "double_double.to_natural",
    "embedding.picked",
    "embedding.place_complex",
    "embedding.place_real",
    "embedding.rounded_product",
    "embedding.turned",
    "multiexp.pippenger",
    "multiexp.bucket_products",
    "floor._accumulate",
    "ntt_counts._issue",
    "sampling.accept_below",
    "sampling.accept_bytes",
    "sampling.blake2x_nodes",
}
SECRET = {
    "batch.split_windows",
    "batch.import_limbs",
    "batch.export_limbs",
    "batch.multiply_arrays",
    "batch.encode_messages",
    "batch.reduce_arrays",
    "batch.lift_arrays",
    "batch.decode_arrays",
    "batch.decode_bounded",
    "batch.logarithms",
    "fermat.fermat_powers",
    "multiexp.straus",
    "multiexp.add_products",
    "multiexp.join_windows",
    "ntt_rows.transform_rows",
    "power.exponentiate",
    "power.fixed_base",
    "power.fixed_base_spread",
    "ring_accumulate.multiply",
    "ring_accumulate.multiply_accumulate",
    "ring_compose.compose",
    "ring_convert.cofactors",
    "ring_convert.convert",
    "ring_encode.encode",
    "ring_encode.encode_wide",
    "ring_pointwise.add_multiples",
    "ring_pointwise.combine",
    "ring_pointwise.permute",
    "ring_pointwise.permute_sum",
    "ring_pointwise.scale",
    "ring_pointwise.shift",
    "ring_pointwise.signed_permute",
    "ring_pointwise.tensor",
    "ring_switch.divide_rows",
    "ring_switch.raise_digits",
    "ring_switch.switch_digits",
    "single.multiply_few",
    "sampling.trits",
    "sampling.binomial",
}
WORDS = numba.types.intp
ARITIES = {f"hecore_{function.__name__}": len(function._sig.args) for function in kernel_cache._published}


def test_every_kernel_is_classified() -> None:
    folder = Path(kernel_cache.__file__).parent
    found = {
        f"{path.stem}.{node.name}"
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(name, ast.Name) and name.id == "kernel" for name in node.decorator_list)
    }
    assert found == SECRET | VARIABLE_TIME


@cache
def exercise() -> None:
    """Call every operation once, so that every kernel knows the argument types that it is called with."""
    backend = CpuBackend(1)
    crt = CrtModulus(2**61 - 1, 2**89 - 1)
    modulus = crt.n_squared
    a = backend.upload(limbs_from_ints([3, 4, 5], modulus.limbs), modulus)
    one = ExponentArray(limbs_from_ints([5], 1)[0], 20)
    for owned in (one, ExponentArray.from_ints([5, 6, 7], 20)):
        backend.mod_exp(a, owned)
    table = backend.fixed_base_table(3, modulus, 20, memory_budget=1)
    for count in (1, 3, 40):
        backend.fixed_base_exp(table, ExponentArray.from_ints([5] * count, 20))
    magnitudes = limbs_from_ints([1] * 600, 1).reshape(2, 300, 1)
    negative = np.zeros((2, 300), dtype=np.bool_)
    negative[0, 0] = True
    bases = backend.take(a, np.arange(300) % 3)
    for constant_time in (True, False):
        backend.multi_exp(bases, magnitudes, negative, 64, constant_time=constant_time)
    backend.encode(limbs_from_ints([1, 2, 3], crt.n.limbs), modulus, a)
    halves = backend.reduce(a, crt.p_squared), backend.reduce(a, crt.q_squared)
    backend.lift(*halves, crt)
    backend.lift(*halves, crt, limbs_from_ints([1, 2, 3], crt.n.limbs))
    backend.decrypt(a, crt)
    long = CrtModulus(2**521 - 1, 2**89 - 1)
    backend.decrypt_bounded(backend.upload(limbs_from_ints([3], long.n_squared.limbs), long.n_squared), long, 5)
    large = Modulus.square((1 << 2047) + 1)
    few = backend.upload(limbs_from_ints([3], large.limbs), large)
    backend.mod_mul(few, few)
    backend.download(a)
    exercise_ring(backend)


def exercise_ring(backend: CpuBackend) -> None:
    basis = RnsBasis(16, ntt_primes(16, [60, 45, 40]))
    one, extra = basis.take([0]), RnsBasis(16, ntt_primes(16, [55]))
    backend.random_ternary((), 16)
    backend.random_errors((), 16)
    a = backend.ring_encode(np.ones((2, 16), dtype=np.int64), basis, ntt=True)
    backend.ring_encode_wide(np.ones((16, 2), dtype=np.uint64), np.ones(16, dtype=np.bool_), basis)
    backend.ring_decode(a)
    backend.residue_add(a, a)
    backend.residue_mul(a, a)
    backend.residue_mul_accumulate(a, a)
    backend.tensor_product(a, a)
    backend.residue_scale(a, [1, 2, 3])
    backend.residue_shift(a, [1, 2, 3])
    backend.automorphism(a, 3)
    backend.automorphism(backend.intt(a), 3)
    backend.automorphism_sum(backend.ring_reshape(a, (2, 1)), [3, 5])
    backend.divide_round(a, 2, plus=backend.ring_moduli(a, [0, 1]))
    backend.divide_round(a, 1)
    digits = backend.decompose(a, [(0, 2), (2, 3)], extra)
    backend.decompose_mul_accumulate(a, [(0, 2), (2, 3)], extra, digits)
    backend.base_convert(backend.intt(a), one, exact=False)


def kernel_named(name: str) -> Any:
    module, _, function = name.partition(".")
    return getattr(import_module(f"hecore.kernels.cpu.{module}"), function)


def listing(function: Callable[..., Any], signature: Any) -> str:
    """The assembly of a Python function compiled as kernels are."""
    fresh = numba.njit(**kernel_cache._FLAGS)(function)
    fresh.compile(signature)
    text: str = fresh.inspect_asm(fresh.signatures[0])
    return text


@cache
def analysis(name: str) -> list[Analysis]:
    exercise()
    kernel = kernel_named(name)
    assert kernel.signatures, f"{name} was never called"
    return [Analysis(listing(kernel.py_func, signature), ARITIES) for signature in kernel.signatures]


@pytest.mark.parametrize("name", sorted(SECRET))
def test_kernels_on_secrets(name: str) -> None:
    if name in ("power.fixed_base_spread", "single.multiply_few") and not IFMA:
        pytest.skip("one lane has nothing to spread over")
    for found in analysis(name):
        assert found.loads > 0, "an analysis that saw no memory saw nothing"
        seen = {v for v in found.violations if (name, v.kind) != ("power.exponentiate", "address")}
        assert seen == set()


def test_exponentiation_that_reads_tables_whole() -> None:
    """With `whole` a constant the variable-time read is gone from the code, and with it every address by a word."""
    exercise()
    exponentiate = kernel_cache.inner(power.exponentiate.py_func)

    def whole(out, a, index, shared, bits, context, length, kind, first, last, scratch):  # type: ignore[no-untyped-def]
        exponentiate(out, a, index, shared, bits, True, context, length, kind, first, last, scratch)

    for signature in power.exponentiate.signatures:
        found = Analysis(listing(whole, (*signature[:5], *signature[6:])), ARITIES)
        assert found.loads > 0
        assert found.violations == set()


def transforms() -> dict[str, Callable[..., Any]]:
    """One residue polynomial each: eight lanes by shape of prime and direction, and one lane."""
    vectors = ntt_vector.FUNCTIONS.values() if IFMA else ()
    return {f.__name__: f for f in (*vectors, ntt_portable.forward_scalar, ntt_portable.backward_scalar)}


@pytest.mark.parametrize("name", transforms())
def test_transforms(name: str) -> None:
    signature = (WORDS,) * ntt_rows.ARGUMENTS
    fresh = CFunc(transforms()[name], (signature, numba.types.void), {}, dict(kernel_cache._FLAGS))
    fresh.compile()
    text = fresh._library.get_asm_str()
    found = Analysis(text, ARITIES)
    assert found.loads > 0
    assert found.violations == set()
    assert ("vpmadd52luq" in text) == ("narrow" in name)


@pytest.mark.parametrize("function", kernel_cache._published, ids=lambda function: function.__name__)
def test_shared_primitives(function: Any) -> None:
    if not IFMA and function._pyfunc.__module__ == long_products.__name__:
        assert not any(long_products.pairs_pay(length) for length in range(MAX_DIGITS + 1))
        pytest.skip("with one lane no kernel calls it")
    fresh = CFunc(function._pyfunc, (function._sig.args, function._sig.return_type), {}, dict(kernel_cache._FLAGS))
    fresh.compile()
    text = fresh._library.get_asm_str()
    found = Analysis(text, ARITIES)
    assert found.functions
    assert found.violations == set()
    if function.__name__ in (
        "multiply_by_rows",
        "multiply_two",
        "square_by_rows",
        "columns_of_cross",
        "columns_of_square",
        "reduce_pairs",
    ):
        assert found.loads > 0
        assert ("vpmadd52luq" in text) == IFMA, "the path that this run tests"


# -- planted violations: the same checker must see each of them ------------------------------------------------------


def check(function: Callable[..., Any], arguments: int) -> set[Violation]:
    return Analysis(listing(function, (WORDS,) * arguments), ARITIES).violations


def branch_on_a_lane(out: Any, a: Any) -> None:
    if peek(a) & np.uint64(1):
        elements.normalise(out, a, 8)


def loop_to_a_lane(out: Any, a: Any) -> None:
    for i in range(np.intp(peek(a))):
        store(out, i, load(a, i + 1))


def look_up_a_lane(out: Any, a: Any) -> None:
    store(out, 0, load(a, np.intp(peek(out))))


def divide_by_a_lane(out: Any, a: Any) -> None:
    vector.poke(out, peek(a) // (peek(a + 8) | np.uint64(1)))


def compare_through_the_stack(out: Any, a: Any) -> None:
    """A sum of digits, carried over a call that spills it, decides."""
    total = peek(a) + peek(a + 8)
    elements.normalise(out, a, 8)
    if total > np.uint64(1 << 52):
        elements.normalise(out, out, 8)


def call_at_a_lane(out: Any, a: Any) -> None:
    elements.normalise(out, a + 512 * np.intp(peek(a)), 8)


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        (branch_on_a_lane, "jump"),
        (loop_to_a_lane, "jump"),
        (look_up_a_lane, "address"),
        (divide_by_a_lane, "division"),
        (compare_through_the_stack, "jump"),
        (call_at_a_lane, "address"),
    ],
)
def test_a_planted_violation_is_seen(plant: Callable[..., Any], kind: str) -> None:
    assert kind in {violation.kind for violation in check(plant, 2)}


def test_a_violation_in_a_function_that_the_kernel_calls_is_seen() -> None:
    """The helper gets the lane as an argument; kept out of line, it is followed through the call."""
    helper = numba.njit(**kernel_cache._FLAGS, forceinline=False)(_long_helper)

    def plant(out: Any, a: Any) -> None:
        lane = peek(a)
        for i in range(8):
            helper(out + 8 * i, lane)
            helper(out + 16 * i, lane)

    assert "jump" in {violation.kind for violation in check(plant, 2)}


def _long_helper(out: Any, lane: Any) -> None:
    if lane > np.uint64(3):
        elements.multiply_plain(out, out, out, out, 8, out)
        elements.normalise(out, out, 8)


def test_the_variable_time_read_is_seen() -> None:
    read = power.read_powers_vartime

    def plant(out: Any, table: Any, digits: Any, indices: Any) -> None:
        read(out, table, digits, indices)

    assert "address" in {violation.kind for violation in check(plant, 4)}


def test_a_choice_between_lanes_is_none() -> None:
    """`select_equal` is what reads of whole tables rest on: chosen by a mask, on either path."""

    def choose(out: Any, a: Any) -> None:
        for i in range(64):
            picked = select_equal(load(a, i), splat(np.uint64(7)), load(a, i + 1), load(a, i + 2))
            store(out, i, picked)

    assert check(choose, 2) == set()


# -- the analysis on assembly written by hand ------------------------------------------------------------------------


def violations(*lines: str) -> set[str]:
    text = "kernel:\n" + "".join(f"{line}\n" if line.endswith(":") else f"\t{line}\n" for line in lines)
    assert len(parse(text)["kernel"].code) == sum(not line.endswith(":") for line in lines)
    return {violation.kind for violation in Analysis(text).violations}


LOAD, LEAVE = "movq (%rdi), %rax", "je .L; .L:; retq"
ALIGN = "pushq %rbp; movq %rsp, %rbp; andq $-64, %rsp; subq $64, %rsp"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (f"{LOAD}; testq %rax, %rax; je .L; retq; .L:; retq", ["jump"]),
        ("cmpq %rsi, %rdi; movq (%rdi), %rax; je .L; retq; .L:; retq", []),
        ("vmovdqu64 (%rdi), %zmm0; vmovq %xmm0, %rax; testb %al, %al; js .L; .L:; retq", ["jump"]),
        ("vptestmq (%rdi), %zmm1, %k1; kortestb %k1, %k1; jne .L; .L:; retq", ["jump"]),
        ("vpcmpeqq (%rdi), %zmm1, %k1; kmovd %k1, %eax; cmpl $3, %eax; ja .L; .L:; retq", ["jump"]),
        ("vpcmpeqq (%rdi), %zmm1, %k1; vmovdqa64 %zmm2, %zmm3 {%k1}; vmovdqu64 %zmm3, (%rsi); retq", []),
        (f"{LOAD}; movq (%rsi,%rax,8), %rcx; retq", ["address"]),
        (f"{LOAD}; shlq $6, %rax; movq (%rsi,%rax), %rcx; retq", ["address"]),
        (f"{LOAD}; leaq (%rsi,%rax,8), %rax; movq (%rax), %rcx; retq", ["address"]),
        (f"{LOAD}; addq $64, %rax; vmovdqu64 (%rax), %zmm0; retq", []),
        ("vmovdqu64 (%rdi), %zmm0; vpgatherqq (%rsi,%zmm0,8), %zmm1 {%k1}; retq", ["address"]),
        (f"{LOAD}; cqto; idivq %rsi; retq", ["division"]),
        (f"{LOAD}; addq $-1, %rax; sbbq %rcx, %rcx; testq %rcx, %rcx; js .L; .L:; retq", ["jump"]),
        (f"{LOAD}; addq %rsi, %rax; decq %rdx; jne .L; .L:; retq", []),
        (f"{LOAD}; addq %rsi, %rax; decq %rdx; jb .L; .L:; retq", ["jump"]),
        (f"{LOAD}; cmpq %rsi, %rax; cmoveq %rdx, %rcx; testq %rcx, %rcx; {LEAVE}", ["jump"]),
        (
            f"pushq %rbx; subq $32, %rsp; vmovdqu64 (%rdi), %ymm0; vmovdqu64 %ymm0, (%rsp); cmpq $1, 24(%rsp); {LEAVE}",
            ["jump"],
        ),
        (f"subq $16, %rsp; movq %rsi, 8(%rsp); movq (%rdi), %rax; movq %rax, (%rsp); cmpq $1, 8(%rsp); {LEAVE}", []),
        (f"{LOAD}; pushq %rax; popq %rcx; testq %rcx, %rcx; {LEAVE}", ["jump"]),
        ("xorl %eax, %eax; .L:; testq %rax, %rax; movq (%rdi), %rax; jne .L; retq", ["jump"]),
        (f"{LOAD}; # public %rax; testq %rax, %rax; {LEAVE}", []),
        (f"{LOAD}; # public %rcx; testq %rax, %rax; {LEAVE}", ["jump"]),
        (f"{ALIGN}; movq 16(%rbp), %rax; testq %rax, %rax; {LEAVE}", []),
        (f"{ALIGN}; movq (%rdi), %rax; movq %rax, -8(%rbp); cmpq $1, -8(%rbp); {LEAVE}", ["jump"]),
        (f"{ALIGN}; movq %rdi, %rbp; movq 16(%rbp), %rax; testq %rax, %rax; {LEAVE}", ["jump"]),
    ],
)
def test_the_analysis_itself(code: str, expected: list[str]) -> None:
    assert violations(*code.split("; ")) == set(expected)
