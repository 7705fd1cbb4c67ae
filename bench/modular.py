"""Rows about bare modular arithmetic, beside GMP."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from hecore.arith.integers import gcd, gmpy2, powmod
from hecore.arith.limbs import ints_from_limbs, limbs_from_ints
from hecore.arith.modulus import Modulus
from hecore.backends.protocol import ExponentArray, IntegerBackend, ResidueArray
from hecore.bench import floor
from hecore.bench.contest import Case, Contestant, repeated
from hecore.bench.data import first_difference, residues
from hecore.bench.peers import gmp, mpz
from hecore.bench.workbench import OURS, Workbench

NO_GMP = {"gmp": "gmpy2 is not installed: pip install gmpy2"}


def _moduli(key_bits: int) -> tuple[Modulus, Modulus]:
    """A plain modulus of 2*key_bits bits, and the square of a root of key_bits bits. Public, odd, not prime."""
    root = residues(1, 1 << key_bits, seed=key_bits)[0] | 1 | 1 << (key_bits - 1)
    square = Modulus.square(root)
    return Modulus(square.value), square


def _upload(backend: IntegerBackend, values: Sequence[int], modulus: Modulus) -> ResidueArray:
    return backend.upload(limbs_from_ints(values, modulus.limbs), modulus)


def _residue_contestant(
    bench: Workbench, name: str, run: Callable[[], ResidueArray], expected: Sequence[int]
) -> Contestant:
    def finish() -> ResidueArray:
        result = run()
        bench.backend.synchronize()
        return result

    def check(result: ResidueArray) -> str | None:
        return first_difference(ints_from_limbs(bench.backend.download(result)), expected)

    return Contestant(name, len(expected), finish, check)


def _products(bench: Workbench, key_bits: int) -> tuple[dict[str, Contestant], dict[str, str]]:
    """Plain product, product and squaring modulo n^2, and GMP's, of the same residues."""
    plain, square = _moduli(key_bits)
    count = bench.plan.items(OURS, "mod_mul", key_bits)
    xs, ys = (residues(count, square.value, seed) for seed in (1, 2))
    products = [x * y % square.value for x, y in zip(xs, ys, strict=True)]
    squares = [x * x % square.value for x in xs]
    backend = bench.backend
    operands = {m: (_upload(backend, xs, m), _upload(backend, ys, m)) for m in (plain, square)}
    forms: dict[str, tuple[str, Callable[[], ResidueArray], list[int]]] = {
        "plain": ("hecore plain form", lambda: backend.mod_mul(*operands[plain]), products),
        "square": (OURS, lambda: backend.mod_mul(*operands[square]), products),
        "squaring": (OURS, lambda: backend.mod_mul(operands[square][0], operands[square][0]), squares),
    }
    contestants = {key: repeated(_residue_contestant(bench, *form), bench.plan.repeats) for key, form in forms.items()}
    if gmpy2 is None:
        return contestants, NO_GMP
    gx, gy, modulus = mpz(xs), mpz(ys), gmpy2.mpz(square.value)
    contestants["gmp"] = gmp(lambda: [x * y % modulus for x, y in zip(gx, gy, strict=True)], products)
    contestants["gmp squaring"] = gmp(lambda: [x * x % modulus for x in gx], squares)
    return contestants, {}


def _present(contestants: dict[str, Contestant], *names: str) -> tuple[Contestant, ...]:
    return tuple(contestants[name] for name in names if name in contestants)


def mod_mul_plain(bench: Workbench, key_bits: int) -> Case:
    """Montgomery products modulo a modulus of twice the key's bits whose root is unknown."""
    contestants, absent = _products(bench, key_bits)
    ours = replace(contestants["plain"], name=OURS)
    return Case(ours, "product", _present(contestants, "gmp"), absent, floor.multiply(2 * key_bits))


def mod_mul(bench: Workbench, key_bits: int) -> Case:
    """Products modulo n^2 in the form x0 + x1*n, beside the plain form of the same size."""
    contestants, absent = _products(bench, key_bits)
    rivals = _present(contestants, "plain", "gmp")
    return Case(contestants["square"], "product", rivals, absent, floor.multiply_square_form(key_bits))


def mod_sqr(bench: Workbench, key_bits: int) -> Case:
    """Squarings modulo n^2, beside products modulo n^2."""
    contestants, absent = _products(bench, key_bits)
    product = replace(contestants["square"], name="hecore product")
    rivals = (product, *_present(contestants, "gmp squaring"))
    return Case(contestants["squaring"], "squaring", rivals, absent, floor.square_form(key_bits))


def mod_exp(bench: Workbench, key_bits: int) -> Case:
    """Secret exponents as in decryption: modulo the square of half the key's bits, one exponent for the batch."""
    return _exponentiation(bench, "mod_exp", key_bits // 2, key_bits // 2, secret=True)


def mod_exp_public(bench: Workbench, key_bits: int) -> Case:
    """Public exponents as in textbook encryption: r^n modulo n^2."""
    return _exponentiation(bench, "mod_exp_public", key_bits, key_bits, secret=False)


def fixed_base(bench: Workbench, key_bits: int) -> Case:
    """One public base, secret exponents of half the key's bits, modulo n^2: the core of encryption."""
    _, modulus = _moduli(key_bits)
    bits, count = key_bits // 2, bench.plan.items(OURS, "fixed_base", key_bits)
    base = next(x for x in residues(64, modulus.value, seed=5) if gcd(x, modulus.value) == 1)
    start = time.perf_counter()
    table = bench.backend.fixed_base_table(base, modulus, bits)
    setup = {f"table of {table.nbytes / 1e6:.1f} MB": time.perf_counter() - start}
    exponents = residues(count, 1 << bits, seed=6)
    array = ExponentArray.from_ints(exponents, bits)
    few = bench.plan.items("gmp", "fixed_base", key_bits)
    expected = [powmod(base, e, modulus.value) for e in exponents]
    ours = _residue_contestant(bench, OURS, lambda: bench.backend.fixed_base_exp(table, array), expected)
    case = Case(replace(ours, setup_seconds=setup), "power", work=floor.fixed_base(key_bits, bits))
    if gmpy2 is None:
        return replace(case, absent=NO_GMP)
    b, m, gexponents = gmpy2.mpz(base), gmpy2.mpz(modulus.value), mpz(exponents[:few])
    return replace(case, rivals=(gmp(lambda: [gmpy2.powmod_sec(b, e, m) for e in gexponents], expected[:few]),))


def _exponentiation(bench: Workbench, operation: str, root_bits: int, exponent_bits: int, *, secret: bool) -> Case:
    _, modulus = _moduli(root_bits)
    key_bits = 2 * root_bits if secret else root_bits
    count = bench.plan.items(OURS, operation, key_bits)
    bases = residues(count, modulus.value, seed=3)
    exponent = residues(1, 1 << exponent_bits, seed=4)[0] | 1 << (exponent_bits - 1)
    array, shared = _upload(bench.backend, bases, modulus), ExponentArray.shared(exponent, exponent_bits)
    run = bench.backend.mod_exp if secret else bench.backend.mod_exp_vartime
    expected = [powmod(base, exponent, modulus.value) for base in bases]
    ours = _residue_contestant(bench, OURS, lambda: run(array, shared), expected)
    case = Case(ours, "power", work=floor.power(root_bits, exponent_bits, secret=secret))
    if gmpy2 is None:
        return replace(case, absent=NO_GMP)
    few = bench.plan.items("gmp", operation, key_bits)
    gbases, e, m = mpz(bases[:few]), gmpy2.mpz(exponent), gmpy2.mpz(modulus.value)
    gmp_power = gmpy2.powmod_sec if secret else gmpy2.powmod  # equal protection against equal protection
    return replace(case, rivals=(gmp(lambda: [gmp_power(b, e, m) for b in gbases], expected[:few]),))
