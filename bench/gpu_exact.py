"""Every operation of both protocols on fresh random inputs, for a device and for the reference to answer alike.

A problem is a name, sizes and a seed; `answers` gives its results on any backend, operation by operation, in host form.
The reference's are worked out in processes of their own, which never touch the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hecore.arith.integers import gcd
from hecore.arith.limbs import ints_from_limbs, limbs_from_ints
from hecore.arith.rns import RnsBasis, ntt_primes
from hecore.backends.protocol import ExponentArray
from hecore.backends.reference import ReferenceBackend
from hecore.bench.gpu_inputs import Inputs
from hecore.errors import NotInvertibleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from hecore.arith.modulus import CrtModulus, Modulus
    from hecore.backends.protocol import IntegerBackend, Limbs, ResidueArray
    from hecore.backends.ring_protocol import Backend, PolynomialArray, RingBackend

Answer = tuple[str, "NDArray[Any]"]

_MANY = 261  # more than one block of threads, and no multiple of anything
_SOME = 19
_FEW = 3
_LONG_EXPONENT_LIMIT = 4096  # bits of a modulus up to which exponents as long as it are tried


@dataclass(frozen=True)
class Problem:
    """`kind` "plain" or "square": a modulus of `size` bits; "key": p and q with an n of `size` bits; "ring": a degree.

    `moduli`: bits of a ring's primes, the last `special` of them special.
    """

    kind: str
    size: int
    moduli: tuple[int, ...] = ()
    special: int = 0

    @property
    def weight(self) -> int:
        """The heavier, the longer the reference takes, about."""
        return self.size * len(self.moduli) if self.kind == "ring" else self.size

    @property
    def name(self) -> str:
        if self.kind == "ring":
            return f"N={self.size} {list(self.moduli)}".replace(", ", ",")
        return {"plain": "{} bits", "square": "{} bits, a square", "key": "{}-bit key"}[self.kind].format(self.size)


QUICK = (
    Problem("plain", 64),
    Problem("plain", 521),
    Problem("square", 1000),
    Problem("key", 512),
    Problem("ring", 64, (60, 28, 45, 29, 60), 2),  # words of both widths
    Problem("ring", 1024, (60, 40, 60), 1),
    Problem("ring", 64, (29, 27, 28, 29), 2),  # words of 32 bits
)
FULL = (
    Problem("plain", 64),
    Problem("plain", 521),
    Problem("plain", 1024),
    Problem("square", 1024),
    Problem("key", 1024),
    Problem("ring", 64, (60, 28, 45, 29, 60), 2),  # words of both widths
    Problem("ring", 4096, (60, 40, 40, 60), 1),
    Problem("ring", 64, (29, 27, 28, 29), 2),  # words of 32 bits
    Problem("ring", 8192, (28, 28, 29), 1),
    Problem("plain", 2048),
    Problem("square", 2048),
    Problem("square", 4096),
    Problem("key", 2048),
    Problem("plain", 4096),
    Problem("ring", 8192, (60, 50, 60), 1),
    Problem("ring", 16384, (60, 40, 60), 1),
    Problem("ring", 65536, (60, 40, 60), 1),
    Problem("ring", 32768, (55, 60), 1),
    Problem("plain", 3072),
    Problem("plain", 8192),
    Problem("square", 6144),
    Problem("square", 8192),
    Problem("key", 3072),
    Problem("key", 4096),
)


def answers(backend: Backend, problem: Problem, seed: str) -> Iterator[Answer]:
    """(operation, its result), in one order on every backend."""
    inputs = Inputs(seed)
    if problem.kind == "key":
        return _key_answers(backend, inputs, inputs.crt(problem.size))
    if problem.kind == "ring":
        return _ring_answers(backend, inputs, problem)
    if problem.kind == "square":
        return _integer_answers(backend, inputs, problem.size, inputs.crt(problem.size // 2).n_squared)
    return _integer_answers(backend, inputs, problem.size, inputs.modulus(problem.size))


def reference_answers(problem: Problem, seed: str) -> list[Answer]:
    """In a worker process."""
    return list(answers(ReferenceBackend(), problem, seed))


def difference(actual: NDArray[Any], expected: NDArray[Any]) -> str:
    """Empty where both are the same bit for bit, else where they are not."""
    if actual.dtype != expected.dtype or actual.shape != expected.shape:
        return f"{actual.dtype} {actual.shape} instead of {expected.dtype} {expected.shape}"
    wrong = np.argwhere(np.asarray(actual != expected))
    return f"{len(wrong)} of {expected.size} words differ, first at {wrong[0].tolist()}" if len(wrong) else ""


def _integer_answers(backend: IntegerBackend, inputs: Inputs, bits: int, modulus: Modulus) -> Iterator[Answer]:
    """What needs no factor of the modulus."""
    m = modulus.value
    awkward = [0, 1, m - 1, (1 << (modulus.bits - 1)) - 1, (1 << 64 * (modulus.limbs - 1)) - 1]
    own_factor = inputs.non_unit(bits) if modulus.square_of is None else gcd(m, inputs.crt(bits // 2).p)
    drawn = ints_from_limbs(inputs.limbs(f"a {bits}", _MANY, m))
    values = [*awkward, own_factor, *drawn][:_MANY]
    others = [*drawn[::-1][: _MANY - 2], m - 1, 0]
    units = [x if gcd(x, m) == 1 else m - 1 for x in others]

    def up(numbers: Sequence[int], shape: tuple[int, ...] | None = None) -> ResidueArray:
        limbs = limbs_from_ints([x % m for x in numbers], modulus.limbs)
        return backend.upload(limbs if shape is None else limbs.reshape(*shape, modulus.limbs), modulus)

    def down(a: ResidueArray) -> Limbs:
        return backend.download(a)

    a, b, u, some = up(values), up(others), up(units), up(values[:_SOME])
    short = _exponents(inputs, f"e {bits}", _SOME, 131)
    order = inputs.indices(f"order {bits}", (7, 3), _MANY)
    yield "download", down(a)
    yield "take", down(backend.take(a, order))
    yield "concatenate", down(backend.concatenate([a, some, b]))
    yield "collect", down(backend.collect(iter([some, a]), _SOME + _MANY))
    yield "reshape", down(backend.reshape(a, (3, 87)))
    yield "mod_mul", down(backend.mod_mul(a, b))
    yield "mod_mul (square)", down(backend.mod_mul(a, a))
    for name, power in (("mod_exp", backend.mod_exp), ("mod_exp_vartime", backend.mod_exp_vartime)):
        yield name, down(power(some, short))
        yield f"{name} (shared)", down(power(some, ExponentArray.shared(inputs.integer(f"shared {bits}", 131), 131)))
        yield f"{name} (one bit)", down(power(some, _exponents(inputs, f"one {bits}", _SOME, 1)))
        if bits <= _LONG_EXPONENT_LIMIT:
            yield f"{name} (long)", down(power(up(drawn[:_FEW]), _exponents(inputs, f"long {bits}", _FEW, bits)))
    for budget in (None, 1 << 16):
        table = backend.fixed_base_table(units[7], modulus, 257, memory_budget=budget)
        yield "fixed_base_exp", down(backend.fixed_base_exp(table, _exponents(inputs, f"fixed {bits}", _SOME, 257)))
        yield "fixed_base_exp (shorter)", down(backend.fixed_base_exp(table, short))
    for rows, width in ((5, 24), (2, 64)):
        magnitudes = inputs.magnitudes(f"x {bits} {width}", (rows, _MANY), width)
        negative = inputs.flags(f"sign {bits} {width}", (rows, _MANY))
        yield f"multi_exp ({width} bits)", down(backend.multi_exp(u, magnitudes, negative, width))
        yield f"multi_exp ({width} bits, unsigned)", down(backend.multi_exp(u, magnitudes, None, width))
        constant = backend.multi_exp(u, magnitudes, negative, width, constant_time=True)
        yield f"multi_exp ({width} bits, constant time)", down(constant)
    yield "product", down(backend.product(backend.reshape(b, (3, 87))))
    yield "product (one row)", down(backend.product(u))
    yield "product (empty)", down(backend.product(backend.take(a, np.zeros((2, 0), dtype=np.intp))))
    yield "segment_product", down(backend.segment_product(u, inputs.indices(f"segments {bits}", (_MANY,), 40), 48))
    yield "batch_invert", down(backend.batch_invert(u))
    yield "batch_invert (refused)", _refused(backend, a)
    yield "gcd_is_one", backend.gcd_is_one(a)


def _exponents(inputs: Inputs, label: str, count: int, bits: int) -> ExponentArray:
    """0, all ones, 1 and the top bit first, then random."""
    special = [0, (1 << bits) - 1, 1, 1 << (bits - 1)]
    drawn = [inputs.integer(f"{label} {i}", bits) for i in range(count)]
    return ExponentArray.from_ints([*special, *drawn][:count], bits)


def _refused(backend: IntegerBackend, a: ResidueArray) -> NDArray[np.int64]:
    """The positions that an inversion names."""
    try:
        backend.batch_invert(a)
    except NotInvertibleError as error:
        return np.array(error.indices, dtype=np.int64)
    return np.zeros(0, dtype=np.int64)


def _key_answers(backend: IntegerBackend, inputs: Inputs, crt: CrtModulus) -> Iterator[Answer]:
    """What works modulo n^2, p^2 and q^2."""
    n, n_squared = crt.n, crt.n_squared
    drawn = inputs.limbs(f"m {n.bits}", _SOME, n.value)
    messages = np.concatenate([limbs_from_ints([0, 1, n.value - 1], n.limbs), drawn])[:_SOME]
    times = backend.upload(inputs.limbs(f"r {n.bits}", _SOME, n_squared.value), n_squared)
    encoded, encrypted = backend.encode(messages, n_squared), backend.encode(messages, n_squared, times)
    yield "encode", backend.download(encoded)
    yield "encode (times)", backend.download(encrypted)
    halves = [backend.reduce(encrypted, modulus) for modulus in (crt.p_squared, crt.q_squared)]
    for half in halves:
        yield "reduce", backend.download(half)
    yield "lift", backend.download(backend.lift(halves[0], halves[1], crt))
    yield "lift (messages)", backend.download(backend.lift(halves[0], halves[1], crt, messages))
    powers = [
        backend.mod_exp(half, ExponentArray.shared(prime - 1, prime.bit_length()))
        for half, prime in zip(halves, (crt.p, crt.q), strict=True)
    ]
    for power in powers:
        yield "mod_exp (p - 1)", backend.download(power)
    yield "decode", backend.decode(powers[0], powers[1], crt)
    yield "decrypt", backend.decrypt(encrypted, crt)
    if crt.one_factor_decides(1 << 64):  # keys of 512 bits and more
        yield "decrypt_bounded", backend.decrypt_bounded(encrypted, crt, 1 << 64)
    yield "decrypt (shape)", backend.decrypt(backend.reshape(encrypted, (1, _SOME)), crt)


def _ring_answers(backend: RingBackend, inputs: Inputs, problem: Problem) -> Iterator[Answer]:
    """Every operation on polynomials; at large degrees on one polynomial at a time, because of the reference."""
    degree, special_count = problem.size, problem.special
    basis = RnsBasis(degree, ntt_primes(degree, problem.moduli))
    kept = len(basis) - special_count
    data, special = basis.take(range(kept)), basis.take(range(kept, len(basis)))
    batch = 4 if degree <= 1024 else 2
    label = f"{degree}"

    def up(name: str, count: int, base: RnsBasis, *, ntt: bool) -> PolynomialArray:
        words = inputs.polynomials(f"{name} {label}", count, base)
        return backend.ring_upload(words.reshape(count // 2, 2, *words.shape[1:]), base, ntt=ntt)

    def down(a: PolynomialArray) -> NDArray[np.uint64]:
        return backend.ring_download(a)

    a, b, c = up("a", batch, data, ntt=True), up("b", batch, data, ntt=True), up("c", batch, basis, ntt=True)
    plain = up("plain", batch, data, ntt=False)
    signed = inputs.words(f"signed {label}", (degree,)).astype(np.int64) >> 1
    wide = inputs.words(f"wide {label}", (degree, 3))
    factors = [inputs.below(f"factor {label} {i}", q) for i, q in enumerate(data.moduli)]
    element = 2 * inputs.below(f"element {label}", degree) + 1
    order = inputs.indices(f"order {label}", (1, 2), batch)
    yield "ring_download", down(a)
    yield "ring_encode", down(backend.ring_encode(signed, data))
    yield "ring_encode (transformed)", down(backend.ring_encode(signed, data, ntt=True))
    yield "ring_encode_wide", down(backend.ring_encode_wide(wide, signed < 0, data))
    yield from zip(("ring_decode", "ring_decode (signs)"), backend.ring_decode(plain), strict=True)
    yield from zip(("ring_decode (ntt)", "ring_decode (ntt, signs)"), backend.ring_decode(a), strict=True)
    yield "ring_take", down(backend.ring_take(a, order))
    yield "ring_concatenate", down(backend.ring_concatenate([a, b]))
    yield "ring_reshape", down(backend.ring_reshape(a, (batch,)))
    yield "ring_moduli", down(backend.ring_moduli(a, range(kept)[::-1]))
    yield "ntt", down(backend.ntt(plain))
    yield "intt", down(backend.intt(a))
    yield "automorphism", down(backend.automorphism(a, element))
    yield "automorphism (coefficients)", down(backend.automorphism(plain, element))
    yield "automorphism_sum", down(backend.automorphism_sum(backend.ring_reshape(a, (1, 2, batch // 2)), [element, 3]))
    yield "residue_add", down(backend.residue_add(a, b))
    yield "residue_sub", down(backend.residue_sub(a, b))
    yield "residue_negate", down(backend.residue_negate(a))
    yield "residue_mul", down(backend.residue_mul(a, b))
    yield "residue_mul_accumulate", down(backend.residue_mul_accumulate(a, b))
    yield "residue_scale", down(backend.residue_scale(a, factors))
    yield "residue_shift", down(backend.residue_shift(a, factors))
    yield "residue_shift (coefficients)", down(backend.residue_shift(plain, factors))
    yield "tensor_product", down(backend.tensor_product(a, b))
    for exact in (False, True):
        yield f"base_convert (exact={exact})", down(backend.base_convert(plain, special, exact=exact))
        one = backend.ring_moduli(plain, [0])
        yield f"base_convert (one modulus, exact={exact})", down(backend.base_convert(one, special, exact=exact))
    for count in range(1, min(len(basis), special_count + 2)):
        yield f"divide_round ({count})", down(backend.divide_round(c, count))
    yield "divide_round (coefficients)", down(backend.divide_round(backend.intt(c), 1))
    plus = backend.ring_moduli(backend.ring_take(c, np.zeros((batch // 2, 1), dtype=np.intp)), range(kept))
    for count in range(special_count, min(len(basis), special_count + 2)):
        yield f"divide_round ({count}, plus)", down(backend.divide_round(c, count, plus=plus))
    single = [(i, i + 1) for i in range(kept)]
    for digits in [single, [(0, 2), *single[2:]]] if kept > 1 else [single]:
        keys = backend.ring_take(c, np.arange(2 * len(digits), dtype=np.intp).reshape(2, -1) % batch)
        yield f"decompose {digits}", down(backend.decompose(a, digits, special))
        switched = backend.decompose_mul_accumulate(a, digits, special, keys)
        yield f"decompose_mul_accumulate {digits}", down(switched)
        switched = backend.decompose_mul_accumulate(a, digits, special, [keys, keys])
        yield f"decompose_mul_accumulate {digits} (two)", down(switched)


def operations() -> frozenset[str]:
    """Names of the protocols' operations that some problem asks for."""
    seen = set()
    for problem in (Problem("plain", 64), Problem("key", 512), Problem("ring", 16, (30, 30, 30), 1)):
        seen |= {name.partition(" ")[0] for name, _ in reference_answers(problem, "0")}
    return frozenset(seen)
