"""The constants of a modulus, laid out for the kernels: one array of digit vectors a modulus, made once."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hecore.arith.integers import invert
from hecore.arith.modulus import CrtModulus, Modulus
from hecore.errors import ParameterError
from hecore.kernels.cpu.batch import row_words
from hecore.kernels.cpu.elements import PLAIN, SLACK_BITS, SQUARE, context_vectors, digits_for
from hecore.kernels.cpu.fermat import correction_weights, fermat_window
from hecore.kernels.cpu.long_products import pair_constants, pairs_pay
from hecore.kernels.cpu.montgomery import MAX_DIGITS
from hecore.kernels.cpu.vector import DIGIT_BITS, DIGIT_MASK, LANES

Vectors = NDArray[np.uint64]


def digits_of(value: int, count: int) -> list[int]:
    return [(value >> (DIGIT_BITS * i)) & DIGIT_MASK for i in range(count)]


def broadcast(digits: list[int]) -> Vectors:
    """One vector a digit, the same in every lane; 64-byte aligned."""
    out = empty_vectors(len(digits))
    out.reshape(len(digits), LANES)[:] = np.array(digits, dtype=np.uint64)[:, None]
    return out


def empty_vectors(count: int) -> Vectors:
    """Room for `count` vectors at a 64-byte boundary."""
    raw = np.empty(count * LANES + 8, dtype=np.uint64)
    start = (-raw.ctypes.data // 8) % 8
    return raw[start : start + count * LANES]


_scratch = threading.local()


def scratch_vectors(count: int) -> Vectors:
    """This thread's scratch memory, at least `count` vectors; contents undefined, valid until its next call."""
    found: Vectors | None = getattr(_scratch, "vectors", None)
    if found is None or found.size < count * LANES:
        found = _scratch.vectors = empty_vectors(count)
    return found


def empty_rows(count: int, words: int) -> Vectors:
    """(count, words); rows at 64-byte boundaries where there are enough of them to matter."""
    if count <= LANES:
        return np.empty((count, words), dtype=np.uint64)
    raw = np.empty(count * words + 8, dtype=np.uint64)
    start = (-raw.ctypes.data // 8) % 8
    return raw[start : start + count * words].reshape(count, words)


def bias_columns(n: int, length: int) -> list[int]:
    """A multiple of n, at least R and below R + n + 2^(52(L-1)+1), with every column at least 2^52 - 1.

    Columns are not digits: the top one holds what does not fit below.
    """
    floor = sum(DIGIT_MASK << (DIGIT_BITS * i) for i in range(length)) + 1
    rest = -(-floor // n) * n - (floor - 1)
    columns = [DIGIT_MASK + digit for digit in digits_of(rest, length)]
    columns[-1] += (rest >> (DIGIT_BITS * length)) << DIGIT_BITS
    return columns


@dataclass(frozen=True, eq=False, repr=False)
class Context:
    """One modulus as the kernels see it: L digits a component, R = 2^(52 L), element kind and constants."""

    kind: int
    length: int
    root: int  # n of n^2, or the modulus itself
    value: int
    constants: Vectors
    to0: Vectors  # R^2, R^3 in element form: into Montgomery form
    to1: Vectors

    @property
    def radix(self) -> int:
        return 1 << (DIGIT_BITS * self.length)

    @property
    def digits(self) -> int:
        return self.length if self.kind == PLAIN else 2 * self.length

    @cached_property
    def row_words(self) -> int:
        return row_words(self.length, self.kind)

    @cached_property
    def plain(self) -> Context:
        """The root's own constants: x0 and x1 are residues modulo n in the same Montgomery form."""
        return make_context(Modulus(self.root), self.length)

    @cached_property
    def single_constants(self) -> Vectors:
        """k0, n and the bias as `single` reads them: a line, then L words each, not one vector a digit."""
        columns = self.constants.reshape(-1, LANES)[: 1 + 2 * self.length, 0]
        out = empty_vectors(1 + -(-2 * self.length // LANES))
        out[0], out[LANES : LANES + 2 * self.length] = columns[0], columns[1:]
        return out

    def element(self, value: int) -> list[int]:
        """The digits of value mod the modulus: x, or x0 then x1 of x0 + x1*n."""
        value %= self.value
        if self.kind == PLAIN:
            return digits_of(value, self.length)
        high, low = divmod(value, self.root)
        return digits_of(low, self.length) + digits_of(high, self.length)


def make_context(modulus: Modulus, length: int | None = None) -> Context:
    """Constants for `modulus`; `length` overrides L upwards, so that two factors share one."""
    root = modulus.square_of or modulus
    n = root.value
    length = max(length or 0, digits_for(root.bits))
    if length > MAX_DIGITS:
        raise ParameterError(
            f"cannot compute modulo {modulus} on the CPU backend: {root.bits} bits, at most "
            f"{MAX_DIGITS * DIGIT_BITS - SLACK_BITS} (twice that for a square)"
        )
    kind = PLAIN if modulus.square_of is None else SQUARE
    r = 1 << (DIGIT_BITS * length)
    bare = Context(kind, length, n, modulus.value, empty_vectors(0), empty_vectors(0), empty_vectors(0))
    columns = [-invert(n, 1 << DIGIT_BITS) % (1 << DIGIT_BITS), *digits_of(n, length), *bias_columns(n, length)]
    columns += digits_of(r % n, length) + digits_of(r * r % n, length) + (bare.element(r) + [0] * length)[: 2 * length]
    columns += digits_of(r - r // 2 // n * n, length)
    assert len(columns) <= context_vectors(length)
    if kind == SQUARE and pairs_pay(length):
        columns += [0] * (context_vectors(length) - len(columns)) + pair_constants(n, length)
    to = [broadcast(bare.element(r**power)) for power in (2, 3)]
    return Context(kind, length, n, modulus.value, broadcast(columns), *to)


_ATTRIBUTE = "_hecore_cpu_context"


def context_for(modulus: Modulus) -> Context:
    """The constants of a modulus, kept on the modulus itself: found at once, and p^2 does not outlive its key."""
    found: Context | None = modulus.__dict__.get(_ATTRIBUTE)
    if found is None:
        found = modulus.__dict__[_ATTRIBUTE] = make_context(modulus)
    return found


@dataclass(frozen=True, eq=False, repr=False)
class CrtContext:
    """What decryption and lifting need of n = p*q; p and q share one L."""

    n: Context
    p: Context
    q: Context
    shares: Vectors  # q*R_p^2, q*R_p^3 modulo p; p*R_p^2, p*R_p^3 modulo q
    lift: Vectors  # E_p*R_n^2/R_p, E_q*R_n^2/R_p modulo n^2
    reduce_p: Vectors
    reduce_q: Vectors
    h_p: Vectors
    h_q: Vectors
    p_inverse: Vectors
    q_multiple: Vectors
    window: int
    digits: Vectors  # (windows, 2): of p - 2 and of q - 2
    weights_p: Vectors
    weights_q: Vectors

    @cached_property
    def both(self) -> tuple[Vectors, Vectors, Vectors]:
        """Constants, window digits and weights with p in the lower half of the lanes and q in the upper."""
        pairs = ((self.p.constants, self.q.constants), (self.weights_p, self.weights_q))
        return _in_halves(*pairs[0]), np.repeat(self.digits, LANES // 2, axis=1), _in_halves(*pairs[1])

    def window_digits(self, half: int) -> Vectors:
        """(windows, LANES): of p - 2 (half 0) or q - 2 in all lanes."""
        return np.repeat(self.digits[:, half : half + 1], LANES, axis=1)


def _in_halves(lower: Vectors, upper: Vectors) -> Vectors:
    out = empty_vectors(lower.size // LANES)
    lanes = out.reshape(-1, 2, LANES // 2)
    lanes[:, 0] = lower.reshape(lanes.shape)[:, 0]
    lanes[:, 1] = upper.reshape(lanes.shape)[:, 1]
    return out


def reduce_constants(source: Context, target: Context) -> Vectors:
    """See `batch.reduce_arrays`."""
    r_n, r_p, n = source.radix, target.radix, source.root
    unit = r_p * r_p * invert(r_n, target.value) % target.value
    values = [unit, unit * r_p, n * unit, n * unit * r_p]
    return broadcast([digit for value in values for digit in target.element(value)])


def make_crt_context(crt: CrtModulus) -> CrtContext:
    length = max(digits_for(crt.p.bit_length()), digits_for(crt.q.bit_length()))
    n, p, q = context_for(crt.n_squared), make_context(crt.p_squared, length), make_context(crt.q_squared, length)
    pp, qq = crt.p * crt.p, crt.q * crt.q
    idempotents = [qq * invert(qq, pp), pp * invert(pp, qq)]
    down = invert(p.radix, n.value)
    lift = [digit for e in idempotents for digit in n.element(e * n.radix**2 * down)]
    r = p.radix
    shares = [other * r**power % prime for prime, other in ((crt.p, crt.q), (crt.q, crt.p)) for power in (2, 3)]
    bits = max(crt.p.bit_length(), crt.q.bit_length())
    window = fermat_window(bits)
    (digits_p, weights_p), (digits_q, weights_q) = (
        correction_weights(prime, bits, window, r) for prime in (crt.p, crt.q)
    )
    return CrtContext(
        n,
        p,
        q,
        broadcast([digit for x in shares for digit in digits_of(x, length)]),
        broadcast(lift),
        reduce_constants(n, p),
        reduce_constants(n, q),
        broadcast(digits_of(crt.h_p * r % crt.p, length)),
        broadcast(digits_of(crt.h_q * r % crt.q, length)),
        broadcast(digits_of(crt.p_inverse * r % crt.q, length)),
        broadcast(digits_of(-(-crt.p // crt.q) * crt.q, length)),
        window,
        np.array([digits_p, digits_q], dtype=np.uint64).T.copy(),
        *(broadcast([digit for x in xs for digit in digits_of(x, length)]) for xs in (weights_p, weights_q)),
    )
