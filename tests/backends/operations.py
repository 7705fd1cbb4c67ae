"""Operations on integers against Python's, for tests of backends that the contract suite does not run on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hecore.arith.integers import powmod
from hecore.arith.limbs import limbs_from_ints

if TYPE_CHECKING:
    from hecore.arith.modulus import Modulus
    from tests.backends.conftest import Lab


def products(rows: list[int], exponents: list[int], modulus: Modulus) -> int:
    value = 1
    for x, e in zip(rows, exponents, strict=True):
        value = value * powmod(x, e, modulus.value) % modulus.value
    return value


def multi_exps(lab: Lab, modulus: Modulus, m: int, k: int, bits: int) -> None:
    bases = lab.units(modulus, k)
    scalars = lab.exponents(bits, m * k)
    rows = [scalars[i * k : (i + 1) * k] for i in range(m)]
    signed = [[-x if (i + j) % 3 == 0 else x for j, x in enumerate(row)] for i, row in enumerate(rows)]
    expected = [products(bases, row, modulus) for row in signed]
    a, magnitudes, signs = lab.up(bases, modulus), lab.magnitudes(signed, k, bits), lab.signs(signed, k)
    for constant_time in (False, True):
        result = lab.backend.multi_exp(a, magnitudes, signs, bits, constant_time=constant_time)
        lab.same(result, expected, modulus, (m,))


def operations(lab: Lab, modulus: Modulus) -> None:
    """Each kernel of `integer` and `segments` that the kind of modulus has."""
    backend, m = lab.backend, modulus.value
    x, y, u = lab.values(modulus, 11), lab.values(modulus, 11, "b"), lab.units(modulus, 5)
    a, b, e = lab.up(x, modulus), lab.up(y, modulus), lab.exponents(11, 11)
    lab.same(backend.mod_mul(a, b), [i * j % m for i, j in zip(x, y, strict=True)], modulus, (11,))
    powers = [powmod(i, j, m) for i, j in zip(x, e, strict=True)]
    for operation in (backend.mod_exp, backend.mod_exp_vartime):
        lab.same(operation(a, lab.own(e, 11)), powers, modulus, (11,))
    table = backend.fixed_base_table(u[4], modulus, 11)
    lab.same(backend.fixed_base_exp(table, lab.own(e, 11)), [powmod(u[4], j, m) for j in e], modulus, (11,))
    labels = [i % 3 for i in range(11)]
    runs = [products(x, [int(s == t) for s in labels], modulus) for t in range(3)]
    lab.same(backend.segment_product(a, np.array(labels), 3), runs, modulus, (3,))
    lab.same(backend.batch_invert(lab.up(u, modulus)), [pow(i, -1, m) for i in u], modulus, (5,))
    root = modulus.square_of
    if root is not None:
        messages = lab.values(root, 11)
        expected = [(1 + i * root.value) * j % m for i, j in zip(messages, x, strict=True)]
        lab.same(backend.encode(limbs_from_ints(messages, root.limbs), modulus, a), expected, modulus, (11,))
