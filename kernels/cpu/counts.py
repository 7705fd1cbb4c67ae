"""How many vector multiply-adds each operation executes a lane group, counted from the code it runs.

L is the digit count of a component (`elements.digits_for`); one half-size product is 2 L^2 multiply-adds, three
quarters of that by one level of Karatsuba's method, or little more than half by pairs of digits (`pairs`), which turns
operands into digits of its own. Terms of order L are counted where the code has them: a reduction row by row adds L for
choosing m.
`schoolbook` is what the same mathematics costs by plain operand scanning with a full-size modulus: the yardstick that
the five-product form, squarings and logarithmic tables are measured against.
"""

from __future__ import annotations

from hecore.kernels.cpu.elements import digits_for
from hecore.kernels.cpu.engine import best_window
from hecore.kernels.cpu.fermat import fermat_window
from hecore.kernels.cpu.karatsuba import one_pays, two_pay
from hecore.kernels.cpu.long_products import digits_of_pairs, pairs_pay
from hecore.kernels.cpu.pairs import PAIR_BITS, TILE
from hecore.kernels.cpu.vector import DIGIT_BITS


def recoding(length: int) -> int:
    """`long_products.recode`: two a digit but for the lowest of 51."""
    return 2 * length - -(-length // PAIR_BITS)


def _phase(digits: int) -> int:
    """Of `pairs`: columns one by one before the tiles, half of them odd, whose two multiply-adds of nothing count."""
    return (digits - 1) % TILE


def _pair_columns(digits: int) -> int:
    """The columns of one product, the prefix sums included."""
    return digits**2 + digits + 2 * _phase(digits) + 2 * digits


def _pair_square(digits: int) -> int:
    return digits**2 + digits + 2 * _phase(digits)


def _pair_reduction(digits: int) -> int:
    """Half the columns twice, the prefix sums twice, and columns L'-4 (its high halves), L'-3 and L'-2 again."""
    half = (digits - 1) // 2 * (digits + 1) + (digits + 1) + _phase(digits)
    return 2 * half + 4 * digits + (digits - 3) // 2 * 3 + 2 + (digits - 1)


def product_by_rows(length: int) -> int:
    """The columns of a*b: four half-length products, or Karatsuba's three."""
    return 6 * (length // 2) ** 2 if one_pays(length) else 2 * length**2


def reduction_by_rows(length: int) -> int:
    return 2 * length**2 + length


def one_product(length: int, recoded: int = 2) -> int:
    """As above, or pairs with so many operands recoded."""
    if pairs_pay(length):
        return recoded * recoding(length) + _pair_columns(digits_of_pairs(length))
    return product_by_rows(length)


def two_products(length: int, recoded: int = 4) -> int:
    """The columns of a*b + c*d."""
    if pairs_pay(length):
        return recoded * recoding(length) + 2 * _pair_columns(digits_of_pairs(length))
    return 12 * (length // 2) ** 2 if two_pay(length) else 4 * length**2


def reduction(length: int) -> int:
    return _pair_reduction(digits_of_pairs(length)) if pairs_pay(length) else reduction_by_rows(length)


def multiply_plain(length: int) -> int:
    return product_by_rows(length) + reduction_by_rows(length)


def square_plain(length: int) -> int:
    return (length**2 + length) + reduction_by_rows(length)


def multiply_component(length: int) -> int:
    """A product modulo the root of a square."""
    return one_product(length) + reduction(length)


def multiply_square(length: int) -> int:
    return one_product(length) + two_products(length, recoded=2) + 2 * reduction(length)


def square_square(length: int) -> int:
    product = one_product(length, recoded=1) + reduction(length)
    if pairs_pay(length):
        return recoding(length) + _pair_square(digits_of_pairs(length)) + reduction(length) + product
    return square_plain(length) + product


def multiply_single(length: int) -> int:
    return multiply_component(length) + one_product(length, recoded=1) + reduction(length)


def add_multiply_plain(length: int) -> int:
    """A sum of two products, reduced once."""
    return two_products(length) + reduction(length)


def multiply_one_plus(length: int) -> int:
    return multiply_plain(length) + add_multiply_plain(length)


def multiply_two_singles(length: int) -> int:
    return 2 * add_multiply_plain(length)


def times_one_plus(length: int) -> int:
    """A message of two components into a half: its share modulo the factor, times x0."""
    return add_multiply_plain(length) + multiply_plain(length)


def power(length: int, bits: int, window: int | None = None, *, whole: bool = True) -> int:
    """`power.exponentiate` modulo a square; the window as the engine chooses it."""
    window = window or best_window(bits, whole=whole)
    windows, entries = -(-bits // window), 1 << window
    squares = window * (windows - 1) + (entries // 2 - 1)
    return squares * square_square(length) + (windows - 1 + entries // 2 - 1) * multiply_square(length)


def fixed_base(length: int, exponent_bits: int, window: int) -> int:
    """`power.fixed_base` modulo a square, table building apart: entries in pairs, a product of two singles each."""
    windows = -(-exponent_bits // window)
    joins = -(-windows // 2) - 1
    ends = multiply_plain(length) + multiply_component(length)
    return windows // 2 * multiply_component(length) + joins * multiply_square(length) + ends


def fermat_power(length: int, bits: int, window: int | None = None) -> int:
    """`fermat.fermat_powers`: table and correction modulo p, squarings and products of singles modulo p^2."""
    window = window or fermat_window(bits)
    windows, entries = -(-bits // window), 1 << window
    table = (entries - 2) * multiply_component(length)
    powers = (windows - 1) * (window * square_square(length) + multiply_single(length)) + multiply_single(length)
    horner = (entries - 3) * add_multiply_plain(length) + 2 * multiply_plain(length) + multiply_component(length)
    return table + powers + horner


def encrypt(key_bits: int, exponent_bits: int, window: int) -> int:
    """Obfuscator by fixed base, then (1 + m*n) * obfuscator."""
    length = digits_for(key_bits)
    return fixed_base(length, exponent_bits, window) + multiply_one_plus(length)


def _combine(parts: int, length: int) -> int:
    return parts * multiply_single(length) + multiply_square(length)


def encrypt_own(key_bits: int, window: int) -> int:
    """Both halves by fixed base with full-length exponents, the message in each, x0 + x1*p, and the lift."""
    n, p = digits_for(key_bits), digits_for(key_bits // 2)
    half = fixed_base(p, key_bits // 2, window) + times_one_plus(p) + 2 * p**2
    return 2 * half + multiply_two_singles(n)


def decrypt(key_bits: int) -> int:
    """A group of one element a lane: both halves, and CRT."""
    p = digits_for(key_bits // 2)
    return 2 * decrypt_bounded(key_bits) + multiply_plain(p) + 2 * p**2


def decrypt_bounded(key_bits: int) -> int:
    """Likewise: a reduction to p^2, an exponentiation, L(a) and the product with h."""
    p = digits_for(key_bits // 2)
    return _combine(4, p) + fermat_power(p, key_bits // 2) + multiply_single(p) + multiply_plain(p)


def pippenger(key_bits: int, terms: int, windows: int, window: int) -> int:
    """One lane group of `windows`-many jobs' share: per window, a single product a term and two a bucket."""
    length = digits_for(key_bits)
    return windows * (terms * multiply_single(length) + 2 * ((1 << (window - 1)) - 1) * multiply_square(length))


def schoolbook_multiply(modulus_bits: int) -> int:
    """One Montgomery product modulo a plain modulus of this size: 4 L^2."""
    return 4 * (-(-modulus_bits // DIGIT_BITS)) ** 2
