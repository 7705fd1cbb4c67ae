"""A kernel backend where several lanes share an integer, on warps in lockstep, and what its arithmetic costs there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hecore.arith.integers import powmod
from hecore.arith.limbs import limbs_from_ints
from hecore.arith.modulus import Modulus
from hecore.backends.device import DeviceFacts
from hecore.backends.kernel_counts import ResidueCounts, decryption, decryption_bounded, encryption
from hecore.backends.kernel_shapes import SPARE_BITS, Geometry, candidates, geometries
from hecore.backends.protocol import ExponentArray
from tests.backends.conftest import Lab, crt_of, fixed
from tests.backends.host_device import WARP, HostBackend
from tests.backends.operations import multi_exps, operations
from tests.kernels.device.host import COMPILER

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs g++")
BLOCK = 64  # two warps
FACTS = DeviceFacts("cuda", "", "", WARP, BLOCK, 1, 1, 1)
SHAPES = geometries(FACTS)
TO_TUNE = {shape for bits in (1024, 2048) for shape in candidates(FACTS, bits) if shape.block == BLOCK} - set(SHAPES)
OFTEN = {"2x19", "4x19"}  # the others take a compiler as long, and add nothing but their size


def shape_name(shape: Geometry) -> str:
    return f"{shape.lanes}x{shape.digits}"


def shapes() -> list[object]:
    return [
        pytest.param(shape, id=shape_name(shape), marks=() if shape_name(shape) in OFTEN else pytest.mark.slow)
        for shape in (*SHAPES, *sorted(TO_TUNE, key=shape_name))
    ]


@pytest.mark.parametrize("shape", shapes())
@pytest.mark.parametrize("square", [False, True], ids=["plain", "square"])
def test_every_shape_of_a_card_gives_equal_results(shape: Geometry, square: bool) -> None:
    backend = HostBackend(BLOCK)
    backend._shapes = [shape]
    root = (1 << shape.bits - SPARE_BITS) - 1
    operations(Lab(backend), Modulus.square(root) if square else Modulus(root))


@pytest.fixture(scope="module")
def backend() -> HostBackend:
    return HostBackend(BLOCK)


@pytest.mark.parametrize("n_bits", [1042, pytest.param(2048, marks=pytest.mark.slow)])
def test_factors_in_another_shape_than_their_product(backend: HostBackend, n_bits: int) -> None:
    lab, crt = Lab(backend), crt_of(n_bits)
    n, n_squared = crt.n.value, crt.n_squared
    x = lab.values(n_squared, 9)
    a = lab.up(x, n_squared)
    halves = backend.reduce(a, crt.p_squared), backend.reduce(a, crt.q_squared)
    assert backend._context(crt.p_squared).geometry.lanes < backend._context(n_squared).geometry.lanes
    lab.same(halves[0], [i % crt.p_squared.value for i in x], crt.p_squared, (9,))
    lab.same(backend.lift(*halves, crt), x, n_squared, (9,))
    messages = lab.values(crt.n, 3)
    randomness = [powmod(r, n, n_squared.value) for r in lab.units(n_squared, 3)]
    c = backend.encode(limbs_from_ints(messages, crt.n.limbs), n_squared, lab.up(randomness, n_squared))
    lab.same_ints(backend.decrypt(c, crt), messages)


def test_sums_of_products(backend: HostBackend) -> None:
    multi_exps(Lab(backend), crt_of(1042).n_squared, 3, 40, 9)


# -- what it costs --------------------------------------------------------------------------------------------


def spent(backend: HostBackend, kernel: str, operation: Callable[[], object]) -> int:
    """Wide multiply-adds of a residue in the launches of `kernel`, or of any."""
    before = len(backend.host.launches)
    operation()
    launches = backend.host.launches[before:]
    assert any(name == kernel for name, _ in launches) or not kernel
    return sum(wide for name, wide in launches if not kernel or name == kernel)


@pytest.mark.parametrize("bits", [300, 1000, 1042])
@pytest.mark.parametrize("square", [False, True], ids=["plain", "square"])
def test_counts_are_what_kernels_execute(backend: HostBackend, square: bool, bits: int) -> None:
    root = fixed("root", bits) | 1 << (bits - 1) | 1
    modulus = Modulus.square(root) if square else Modulus(root)
    counts, lab = ResidueCounts.of(modulus, backend._shapes), Lab(backend)
    context = backend._context(modulus)
    assert (counts.geometry, counts.row_bytes) == (context.geometry, context.row_bytes)
    x = lab.units(modulus, 3)
    assert spent(backend, "import_rows", lambda: lab.up(x, modulus)) == counts.imported(modulus.bits)
    a, b = lab.up(x, modulus), lab.up(x[::-1], modulus)
    assert spent(backend, "multiply", lambda: backend.mod_mul(a, b)) == counts.product
    assert spent(backend, "square", lambda: backend._squared(context, a.data, 3, 1)) == counts.squaring
    assert spent(backend, "export_rows", lambda: lab.down(a)) == counts.exported
    for exponent_bits in (1, 7, 40):
        e = lab.own(lab.exponents(exponent_bits, 3), exponent_bits)
        for name, whole in (("mod_exp", True), ("mod_exp_vartime", False)):
            done = spent(backend, "", lambda name=name, e=e: getattr(backend, name)(a, e))  # type: ignore[misc]
            assert done == counts.power(exponent_bits, whole=whole)
        for budget in (None, 1 << 12):
            table = backend.fixed_base_table(x[2], modulus, exponent_bits, memory_budget=budget)
            done = spent(backend, "", lambda table=table, e=e: backend.fixed_base_exp(table, e))  # type: ignore[misc]
            assert done == counts.fixed_base(exponent_bits, budget)


@pytest.mark.parametrize("n_bits", [130, 1042])
def test_counts_of_encryption_and_decryption(backend: HostBackend, n_bits: int) -> None:
    crt, lab, bits = crt_of(n_bits), Lab(backend), 40
    messages = limbs_from_ints([1, 2, 3], crt.n.limbs)
    table = backend.fixed_base_table(lab.units(crt.n_squared, 3)[2], crt.n_squared, bits)
    exponents = ExponentArray.from_ints([5, 6, 7], bits)

    def encrypt() -> None:
        backend.encode(messages, crt.n_squared, backend.fixed_base_exp(table, exponents))

    assert spent(backend, "", encrypt) == encryption(crt.n_squared, bits, backend._shapes)
    c = backend.encode(messages, crt.n_squared)
    backend.decrypt(c, crt)  # whatever is made once
    assert spent(backend, "", lambda: backend.decrypt(c, crt)) == decryption(crt, backend._shapes)
    if crt.one_factor_decides(9):
        backend.decrypt_bounded(c, crt, 9)
        found = spent(backend, "", lambda: backend.decrypt_bounded(c, crt, 9))
        assert found == decryption_bounded(crt, backend._shapes) < 0.51 * decryption(crt, backend._shapes)
