"""The floor: this machine's multiply-add peak, measured in the run, and what each operation needs of it.

Counts are digit multiply-adds an item: `hecore.kernels.cpu.counts` counts vector multiply-adds a lane group, which
is the same number, because a group has as many items as lanes. Steps that an operation shares among many items
(an inversion a batch, the recombination of a matrix product's windows) are left out; that makes efficiencies smaller.

The schoolbook count takes the same modular products and squarings, each as one plain operand-scanning product
modulo the full modulus.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hecore.arith.modulus import Modulus
from hecore.bench.results import Work
from hecore.errors import HecoreError

INT32_BITS = 32  # of the magnitude of an int32, whose least value is -2**31
INT32_MOST = 1 << 31


@dataclass(frozen=True)
class Peak:
    """`measure()` gives nanoseconds a vector multiply-add of `lanes` lanes; None with the reason where it cannot."""

    measure: Callable[[], float] | None
    lanes: int = 1
    reason: str = ""

    def lane_ns(self) -> float | None:
        """Nanoseconds a digit multiply-add: one lane's share."""
        return self.measure() / self.lanes if self.measure else None


def peak_of(device: str) -> Peak:
    """The floor below `device`. At least 16 independent accumulators, so that latency does not bound the peak."""
    if device != "cpu":
        return Peak(None, reason=f"No floor: {device} is not the cpu backend.")
    try:
        from hecore.kernels.cpu.floor import measure_peak
        from hecore.kernels.cpu.vector import LANES

        measure_peak(1)  # compiles
    except HecoreError as error:
        return Peak(None, reason=f"No floor: {error}")
    return Peak(measure_peak, LANES)


def multiply(modulus_bits: int) -> Work:
    """A product modulo a modulus whose root is unknown."""
    from hecore.kernels.cpu import counts, elements

    return Work(counts.multiply_plain(elements.digits_for(modulus_bits)), counts.schoolbook_multiply(modulus_bits))


def multiply_square_form(root_bits: int) -> Work:
    """A product modulo n^2 as x0 + x1*n: five half-size products instead of eight."""
    from hecore.kernels.cpu import counts, elements

    executed = counts.multiply_square(elements.digits_for(root_bits))
    return Work(executed, counts.schoolbook_multiply(2 * root_bits))


def square_form(root_bits: int) -> Work:
    """A squaring modulo n^2."""
    from hecore.kernels.cpu import counts, elements

    executed = counts.square_square(elements.digits_for(root_bits))
    return Work(executed, counts.schoolbook_multiply(2 * root_bits))


def power(root_bits: int, exponent_bits: int, *, secret: bool) -> Work:
    """A fixed-window exponentiation modulo a square; a secret exponent takes the window that whole reads favour."""
    from hecore.kernels.cpu import counts, elements

    executed = counts.power(elements.digits_for(root_bits), exponent_bits, whole=secret)
    return Work(executed, _power_products(exponent_bits, secret) * counts.schoolbook_multiply(2 * root_bits))


def _power_products(exponent_bits: int, secret: bool) -> int:
    """Products and squarings of one exponentiation: the table, then `window` squarings and a product a window."""
    from hecore.kernels.cpu.engine import best_window

    window = best_window(exponent_bits, whole=secret)
    return (1 << window) - 2 + (-(-exponent_bits // window) - 1) * (window + 1)


def fixed_base(root_bits: int, exponent_bits: int) -> Work:
    """A power of one base by its table, modulo a square."""
    from hecore.kernels.cpu import counts, elements

    window = _table_window(root_bits, exponent_bits)
    executed = counts.fixed_base(elements.digits_for(root_bits), exponent_bits, window)
    products = -(-exponent_bits // window) - 1
    return Work(executed, products * counts.schoolbook_multiply(2 * root_bits))


def _table_window(root_bits: int, exponent_bits: int) -> int:
    """The window of the backend's default table, for any modulus of this size."""
    from hecore.kernels.cpu.context import context_for
    from hecore.kernels.cpu.engine import Engine

    any_root = (1 << root_bits) - 1
    return Engine(1).table_window(context_for(Modulus.square(any_root)), exponent_bits, None)


def encrypt(key_bits: int) -> Work:
    """Public-key encryption: an obfuscator by fixed base, then the message."""
    from hecore.kernels.cpu import counts

    executed = counts.encrypt(key_bits, key_bits // 2, _table_window(key_bits, key_bits // 2))
    message = counts.schoolbook_multiply(2 * key_bits)
    return Work(executed, fixed_base(key_bits, key_bits // 2).schoolbook + message)


def encrypt_own(key_bits: int) -> Work:
    """Both halves by fixed base, the lift (a product a half), the message."""
    from hecore.kernels.cpu import counts

    half = key_bits // 2
    executed = counts.encrypt_own(key_bits, _table_window(half, half))
    return Work(executed, 2 * fixed_base(half, half).schoolbook + 3 * counts.schoolbook_multiply(2 * key_bits))


def decrypt(key_bits: int) -> Work:
    """A power modulo p^2, with a reduction before it and a decoding after it."""
    from hecore.kernels.cpu import counts

    return Work(counts.decrypt_bounded(key_bits), _half_decryption(key_bits))


def decrypt_full(key_bits: int) -> Work:
    """The same modulo p^2 and q^2, and what joins them."""
    from hecore.kernels.cpu import counts

    return Work(counts.decrypt(key_bits), 2 * _half_decryption(key_bits))


def _half_decryption(key_bits: int) -> float:
    """Schoolbook: a power, a reduction and an L-function."""
    from hecore.kernels.cpu import counts

    half = key_bits // 2
    return power(half, half, secret=True).schoolbook + 2 * counts.schoolbook_multiply(key_bits)


def plain_mul(key_bits: int) -> Work:
    """A power of 32 bits and the three products of a batched inversion."""
    work, product = power(key_bits, INT32_BITS, secret=False), multiply_square_form(key_bits)
    return Work(work.executed + 3 * product.executed, work.schoolbook + 3 * product.schoolbook)


def matvec(key_bits: int, outputs: int, terms: int) -> Work | None:
    """A term of a matrix-vector product by Pippenger's buckets; None for a small one, which Straus' method serves."""
    from hecore.kernels.cpu import counts, multi

    def cost(window: int) -> float:
        return multi.pippenger_cost(outputs, terms, INT32_MOST, window)

    window = min(range(2, 13), key=cost)
    if multi.straus_cost(outputs, terms, INT32_BITS) < cost(window):
        return None
    windows, buckets = multi.signed_windows(INT32_MOST, window), (1 << (window - 1)) - 1
    products = windows * (terms + 2 * buckets)
    executed = counts.pippenger(key_bits, terms, windows, window)
    return Work(executed / terms, products * counts.schoolbook_multiply(2 * key_bits) / terms)
