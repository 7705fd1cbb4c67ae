"""The floor: this machine's multiply-add peak, measured in the run, and what each operation needs of it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from hecore.bench.results import Work
from hecore.errors import BackendUnavailableError

DIGIT_BITS = 52


def peak_meter() -> tuple[Callable[[], float | None], str]:
    """A function that measures nanoseconds a vector multiply-add (8 lanes), and "" or why it gives None.

    The kernel behind it keeps at least 16 independent accumulators, so that latency does not bound it.
    """
    try:
        floor = import_module("hecore.kernels.cpu.floor")
        floor.measure_peak()  # compiles
    except (ImportError, BackendUnavailableError) as error:
        reason = f"no floor on this machine: {error}"
        return (lambda: None), reason
    return (lambda: float(floor.measure_peak())), ""


def digits(bits: int) -> int:
    """Radix-2^52 digits of a Montgomery operand: two spare bits let the last subtraction wait."""
    return -(-(bits + 2) // DIGIT_BITS)


def multiply(bits: int) -> Work:
    """One Montgomery product modulo a plain modulus: L^2 digit products, L^2 more to reduce, two halves each."""
    return Work(plain := 4.0 * digits(bits) ** 2, plain)


def multiply_square_form(root_bits: int) -> Work:
    """One product modulo n^2 as x0 + x1*n: five half-size products of 2 L^2 each."""
    return Work(10.0 * digits(root_bits) ** 2, multiply(2 * root_bits).schoolbook)


def square_square_form(root_bits: int) -> Work:
    """One squaring modulo n^2 as x0 + x1*n: 3.5 half-size products."""
    return Work(7.0 * digits(root_bits) ** 2, multiply(2 * root_bits).schoolbook)


def total(*parts: tuple[float, Work]) -> Work:
    """Sum of times * work."""
    return Work(sum(t * w.executed for t, w in parts), sum(t * w.schoolbook for t, w in parts))


def power(root_bits: int, exponent_bits: int, window: int) -> Work:
    """Fixed-window exponentiation modulo a square: squarings, one product a window, and the table of powers."""
    windows = -(-exponent_bits // window)
    products = windows + (1 << window) - 2
    return total((window * (windows - 1), square_square_form(root_bits)), (products, multiply_square_form(root_bits)))
