"""The kernels of `integer` against Python's integers, over all shapes, with operands whose digits carry late."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.kernels.conftest import fixed

if TYPE_CHECKING:
    from tests.kernels.device.lab import Lab


def words_of(values: list[int], words: int) -> list[list[int]]:
    return [[value >> 32 * k & 0xFFFFFFFF for k in range(words)] for value in values]


@pytest.mark.parametrize("backwards", [False, True])
def test_products(lab: Lab, backwards: bool) -> None:
    a, n = lab.operands(0), lab.modulus
    x = [lab.value(row) for row in a]
    for shift in range(1, len(a), 2):
        b = lab.operands(shift)
        expected = [u * lab.value(row) % n for u, row in zip(x, b, strict=True)]
        assert lab.elements("multiply", len(a), a, None, b, None, 0, backwards=backwards) == expected
    assert lab.elements("square", len(a), a, backwards=backwards) == [u * u % n for u in x]


def test_products_of_chosen_rows(lab: Lab) -> None:
    a, b, n = lab.operands(0), lab.operands(2), lab.modulus
    x, y = ([lab.value(row) for row in rows] for rows in (a, b))
    count = 2 * len(a) + 1
    left, right = (np.array([fixed(f"{s} {i}", 32) % len(a) for i in range(count)], dtype=np.uint32) for s in "lr")
    assert lab.elements("multiply", count, a, left, b, right, 3) == [
        x[i] * y[j] % n for i, j in zip(left, right, strict=True)
    ]
    assert lab.elements("multiply", len(a), a, None, b, right, 2) == [
        u * y[j] % n for u, j in zip(x, right, strict=False)
    ]
    for row in range(2, len(b), 3):
        one = lab.array(b[row])
        assert lab.elements("multiply", count, a, left, one, None, 5) == [x[i] * y[row] % n for i in left]
        assert lab.elements("multiply", len(a), a, None, one, None, 4) == [u * y[row] % n for u in x]


def test_in_place(lab: Lab) -> None:
    a = lab.operands(0)
    x = [lab.value(row) for row in a]
    for kernel, operands in (("multiply", (a, None, a, None, 0)), ("square", (a,))):
        out = a.copy()
        placed = [out if operand is a else operand for operand in operands]
        lab.runner.launch(kernel, len(a) * lab.shape.lanes, out, *placed, *lab.tail, len(a))
        assert [lab.value(row) for row in out] == [u * u % lab.modulus for u in x]


def test_sums(lab: Lab) -> None:
    a = lab.operands(0)
    for shift in (0, 1, 4):
        b = lab.operands(shift)
        expected = [(lab.value(u) + lab.value(v)) % lab.modulus for u, v in zip(a, b, strict=True)]
        assert lab.elements("add", len(a), a, b, lab.array(lab.montgomery(1))) == expected


def test_export(lab: Lab) -> None:
    for shift in (0, 1, 3):
        a = lab.operands(shift)
        out = lab.run("export_rows", lab.words, len(a), a, backwards=bool(shift))
        assert int(out.max()) < 1 << lab.shape.radix
        assert [lab.shape.value_of(row) for row in out] == [lab.value(row) for row in a]


@pytest.mark.parametrize("chunks", [1, 2, 3])
def test_import(lab: Lab, chunks: int) -> None:
    top, r2, width = lab.radix**chunks, lab.radix**2, lab.shape.width * chunks
    values = [0, 1, top - 1, top - 2, fixed("import", 20000) % top]
    factor = fixed("factor", 20000) % lab.modulus
    digits = lab.array([lab.shape.digits_of(value, width) for value in values])
    constants = lab.array([lab.element(c % lab.modulus) for c in (r2 * factor, r2, lab.radix)])
    out = lab.elements("import_rows", len(values), digits, constants, chunks)
    assert out == [value * factor % lab.modulus for value in values]


@pytest.mark.parametrize("kernel", ["power", "power_vartime"])
def test_powers(lab: Lab, kernel: str) -> None:
    bits, window, words = 9, 2, 1
    a = lab.operands(1)[2:6]
    exponents = [0, 1, (1 << bits) - 1, 0b100100110]
    higher = [e | 1 << bits for e in exponents]  # a bit that does not count
    one, scratch = lab.array(lab.montgomery(1)), lab.scratch(len(a), window)
    x = [lab.value(row) for row in a]
    given = lab.array(words_of(higher, words))
    out = lab.elements(kernel, len(a), a, given, words, 0, bits, window, one, scratch)
    assert out == [pow(u, e, lab.modulus) for u, e in zip(x, exponents, strict=True)]
    shared = lab.array(words_of(exponents[3:], words))
    out = lab.elements(kernel, len(a), a, shared, words, 1, bits, window, one, scratch)
    assert out == [pow(u, exponents[3], lab.modulus) for u in x]
    out = lab.elements(kernel, len(a), a, given, words, 0, 0, window, one, scratch)
    assert out == [1 % lab.modulus] * len(a)


def test_windows_across_words(short_lab: Lab) -> None:
    lab = short_lab
    bits, window, words = 70, 5, 3
    exponents = [0, (1 << bits) - 1, 1 << 34, 0x1F << 30, fixed("exponent", bits)]
    given, one = lab.array(words_of(exponents, words)), lab.array(lab.montgomery(1))
    a = lab.operands(0)[1:6]
    count = len(a)
    scratch = lab.scratch(count, window)
    out = lab.elements("power", count, a, given, words, 0, bits, window, one, scratch)
    assert out == [pow(lab.value(row), e, lab.modulus) for row, e in zip(a, exponents, strict=True)]


def test_fixed_bases(lab: Lab) -> None:
    bits, window, words = 34, 3, 2
    base = fixed("base", 9000) % lab.modulus
    exponents = [0, 1, (1 << bits) - 1, 7 << 30, fixed("fixed base", bits)]
    windows = -(-bits // window)
    powers = [pow(base, digit << window * w, lab.modulus) for w in range(windows) for digit in range(1 << window)]
    table, one = lab.array([lab.montgomery(power) for power in powers]), lab.array(lab.montgomery(1))
    given = lab.array(words_of(exponents, words))
    out = lab.elements("fixed_base", len(exponents), table, given, words, bits, window, one)
    assert out == [pow(base, e, lab.modulus) for e in exponents]
    assert lab.elements("fixed_base", 1, table, given, words, 0, window, one) == [1 % lab.modulus]


@pytest.mark.parametrize("bits", [0, 5, 250])
def test_fixed_bases_in_logarithmic_form(square_lab: Lab, bits: int) -> None:
    """More windows than one sum of logarithms may have, and in one exponent the largest of every window."""
    lab, window, words = square_lab, 2, 8
    n, rows, windows = lab.n, lab.shape.digits_of, max(1, -(-bits // 2))
    pairs = [[tuple(fixed(f"{part} {w} {d}", 9000) % n for part in "tu") for d in range(3)] for w in range(windows)]
    pairs = [[*some, (n - 1, n - 1)] for some in pairs]
    table = lab.array([digit for some in pairs for t, u in some for digit in (*rows(t), *rows(u))])
    exponents = [0, (1 << bits) - 1, fixed("logarithms", 256) % (1 << bits), fixed("more", 256) % (1 << bits)]
    given, constants = lab.array(words_of(exponents, words)), lab.array([*rows(lab.radix**2 % n), *lab.montgomery(1)])
    out = lab.elements("fixed_base_logarithmic", 4, table, given, words, bits, window, constants)
    inverse, expected = pow(lab.radix, -1, lab.modulus), []
    for e in exponents:
        product = 1
        for w in range(windows if bits else 0):
            t, u = pairs[w][e >> window * w & 3]
            product = product * t * (1 + u * n) * inverse % lab.modulus
        expected.append(product)
    assert out == expected


def test_encoding(square_lab: Lab) -> None:
    lab = square_lab
    n = lab.n
    times = lab.operands(2)
    messages = [(0, 1, n - 1, n // 2, fixed("message", 9000) % n)[i % 5] for i in range(len(times))]
    rows = lab.array([lab.shape.digits_of(m) for m in messages])
    constants = lab.array([*lab.shape.digits_of(lab.radix**2 % n), *lab.montgomery(1)])
    out = lab.elements("encode", len(times), times, 1, rows, constants)
    assert out == [(1 + m * n) * lab.value(t) % lab.modulus for m, t in zip(messages, times, strict=True)]
    assert lab.elements("encode", len(times), None, 0, rows, constants) == [1 + m * n for m in messages]


def test_quotients(square_lab: Lab) -> None:
    lab = square_lab
    n = lab.n
    residues = [0, 1, n, n + 1, 2 * n, n * n - n, n * n - 1, 1 + (n - 1) * n, fixed("quotient", 20000) % (n * n)]
    for a in (lab.array([lab.montgomery(x) for x in residues]), lab.operands(1)):
        out = lab.run("export_quotient", lab.shape.width, len(a), a)
        assert int(out.max()) < 1 << lab.shape.radix
        assert [lab.shape.value_of(row) for row in out] == [(lab.value(row) - 1) // n % n for row in a]
