"""What the contract suite cannot see of a kernel backend's integers: memory, what is left in it, what is launched."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("pyopencl")

from hecore.arith.integers import powmod
from hecore.arith.limbs import limbs_from_ints
from hecore.arith.modulus import CrtModulus, Modulus
from hecore.backends.device import DeviceFacts
from hecore.backends.kernel_rows import FLOOR
from hecore.backends.kernel_shapes import SPARE_BITS, Geometry, geometries, geometry_for
from hecore.backends.protocol import ExponentArray
from hecore.errors import BackendError, DeviceMemoryError, NotInvertibleError, ParameterError
from tests.backends.conftest import Lab, crt_of, fixed
from tests.backends.operations import multi_exps, operations, products
from tests.backends.watched_device import WatchedBackend

if TYPE_CHECKING:
    from collections.abc import Callable

CRT = crt_of(130)
N2 = CRT.n_squared
COUNT = 5 * FLOOR + 7


@pytest.fixture(scope="module")
def backend() -> WatchedBackend:
    return WatchedBackend()


@pytest.fixture(scope="module")
def lab(backend: WatchedBackend) -> Lab:
    return Lab(backend)


def everything(lab: Lab) -> None:
    """Each operation that goes in stretches, on more than several FLOORs of elements."""
    backend, n = lab.backend, CRT.n.value
    x, e = lab.units(N2, COUNT), lab.exponents(70, COUNT)
    a, own = lab.up(x, N2), lab.own(e, 70)
    lab.same(a, x, N2, (COUNT,))
    powers = [powmod(i, j, N2.value) for i, j in zip(x, e, strict=True)]
    lab.same(backend.mod_exp(a, own), powers, N2, (COUNT,))
    lab.same(backend.mod_exp_vartime(a, own), powers, N2, (COUNT,))
    lab.same(backend.batch_invert(a), [pow(i, -1, N2.value) for i in x], N2, (COUNT,))
    assert backend.gcd_is_one(a).all()
    a_p, a_q = backend.reduce(a, CRT.p_squared), backend.reduce(a, CRT.q_squared)
    lab.same(backend.lift(a_p, a_q, CRT), x, N2, (COUNT,))
    messages = [fixed(f"message{i}", CRT.n.bits) % n for i in range(COUNT)]
    limbs = limbs_from_ints(messages, CRT.n.limbs)
    encoded = backend.encode(limbs, N2, a)
    lab.same(encoded, [(1 + m * n) * i % N2.value for m, i in zip(messages, x, strict=True)], N2, (COUNT,))
    c = backend.encode(limbs, N2, backend.mod_exp(a, ExponentArray.shared(n, CRT.n.bits)))
    lab.same_ints(backend.decrypt(c, CRT), messages)
    a_p, a_q = (
        backend.mod_exp(backend.reduce(c, square), ExponentArray.shared(f - 1, f.bit_length()))
        for f, square in ((CRT.p, CRT.p_squared), (CRT.q, CRT.q_squared))
    )
    lab.same_ints(backend.decode(a_p, a_q, CRT), messages)


# -- memory ---------------------------------------------------------------------------------------------------


def test_a_small_budget_means_many_stretches() -> None:
    backend = WatchedBackend(memory_budget=1)
    everything(Lab(backend))
    powers = [threads for kernel, threads in backend.watched.launches if kernel == "power"]
    assert max(powers) == FLOOR
    multi_exps(Lab(backend), N2, 7, 100, 20)


def test_refused_memory_means_shorter_stretches(backend: WatchedBackend, lab: Lab) -> None:
    """All but the scratch of long stretches fits: they are halved until it does."""
    before = len(backend.watched.launches)
    with backend.watched.refusing(8 * COUNT * backend._context(N2).row_bytes):
        everything(lab)
    powers = [threads for kernel, threads in backend.watched.launches[before:] if kernel == "power_vartime"]
    assert FLOOR <= max(powers) < COUNT
    for m, k, bits in ((9, 100, 20), (5, 300, 40)):
        before = len(backend.watched.launches)
        multi_exps(lab, N2, m, k, bits)
        usual = len(backend.watched.launches) - before
        with backend.watched.refusing(110000):
            multi_exps(lab, N2, m, k, bits)
        assert len(backend.watched.launches) - before > 2 * usual


def test_where_no_stretch_fits_an_error_says_so_and_nothing_is_lost(backend: WatchedBackend, lab: Lab) -> None:
    x = lab.units(N2, 2 * FLOOR)
    a, e = lab.up(x, N2), ExponentArray.shared(77, 7)
    with backend.watched.refusing(100):
        for operation in (
            lambda: lab.backend.mod_exp(a, e),
            lambda: lab.backend.mod_mul(a, a),
            lambda: lab.backend.decrypt(a, CRT),
            lambda: lab.down(a),
        ):
            with pytest.raises(DeviceMemoryError):
                operation()
    lab.same(a, x, N2, (2 * FLOOR,))
    lab.same(lab.backend.mod_exp(a, e), [powmod(i, 77, N2.value) for i in x], N2, (2 * FLOOR,))


def test_all_outputs_without_inverse_are_named_whatever_the_stretch() -> None:
    lab = Lab(WatchedBackend(memory_budget=1))
    bases = lab.up([2, 0, 7], N2)
    rows = [[1, 0, 3]] * 7 + [[1, -1, 3]] + [[1, 0, 3]] * 7 + [[0, -2, 1]]
    for constant_time in (False, True):
        with pytest.raises(NotInvertibleError) as caught:
            lab.backend.multi_exp(bases, lab.magnitudes(rows, 3, 2), lab.signs(rows, 3), 2, constant_time=constant_time)
        assert caught.value.indices == (7, 15)
    x = [3, *[5] * 200, CRT.p, *[7] * 100, 0]
    with pytest.raises(NotInvertibleError) as caught:
        lab.backend.batch_invert(lab.up(x, N2))
    assert caught.value.indices == (201, 302)


def test_constants_go_with_their_modulus(backend: WatchedBackend, lab: Lab) -> None:
    gc.collect()
    contexts, keys = len(backend._contexts), len(backend._crt)
    for i in range(30):
        crt = CrtModulus(2 * fixed(f"p{i}", 30) + 1, 2**32 - 5)
        lab.backend.decrypt(lab.up([1], crt.n_squared), crt)
        lab.up([1, 2], Modulus(2 * i + 101))
    assert len(backend._crt) <= keys + 2
    del crt
    gc.collect()
    assert len(backend._contexts) == contexts
    assert len(backend._crt) == keys


# -- secrets --------------------------------------------------------------------------------------------------


def own_key() -> CrtModulus:
    """A key whose constants go with it."""
    return CrtModulus(CRT.p, CRT.q)


def uploading(lab: Lab) -> None:
    n_squared = own_key().n_squared
    a = lab.up(lab.units(n_squared, 9), n_squared)
    lab.down(lab.backend.mod_mul(a, a))


def raising(lab: Lab) -> None:
    n_squared = own_key().n_squared
    a = lab.up(lab.units(n_squared, 9), n_squared)
    lab.backend.mod_exp(a, lab.own(lab.exponents(70, 9), 70))
    lab.backend.mod_exp_vartime(a, lab.backend.random_exponents((), 70))


def encoding(lab: Lab) -> None:
    crt = own_key()
    lab.backend.encode(limbs_from_ints([5, 7], crt.n.limbs), crt.n_squared)


def decrypting(lab: Lab) -> None:
    crt = own_key()
    a = lab.up(lab.units(crt.n_squared, 9), crt.n_squared)
    lab.backend.decrypt(a, crt)
    halves = lab.backend.reduce(a, crt.p_squared), lab.backend.reduce(a, crt.q_squared)
    lab.backend.lift(*halves, crt)
    lab.backend.decode(*halves, crt)


def decrypting_bounded(lab: Lab) -> None:
    """Even the public bound tells p once it stands in Montgomery form modulo p."""
    factors = crt_of(512)
    crt = CrtModulus(factors.p, factors.q)
    lab.backend.decrypt_bounded(lab.up(lab.units(crt.n_squared, 9), crt.n_squared), crt, 5)


def tabling(lab: Lab) -> None:
    """Powers of a public base modulo p^2: each of them tells p."""
    crt = own_key()
    table = lab.backend.fixed_base_table(3, crt.p_squared, 70)
    lab.backend.fixed_base_exp(table, lab.own(lab.exponents(70, 9), 70))


SECRET = [uploading, raising, encoding, decrypting, decrypting_bounded, tabling]


def fresh() -> WatchedBackend:
    """A backend that has compared its stream of random bits with a published, public one."""
    backend = WatchedBackend()
    backend.random_exponents((1,), 9)
    return backend


def left_behind(backend: WatchedBackend, first: int) -> list[int]:
    """Numbers of the buffers given since `first` that hold more than zeros, all handles being let go."""
    gc.collect()
    return [first + i for i, data in enumerate(backend.watched.contents(first)) if any(data)]


@pytest.mark.parametrize("operation", SECRET)
def test_nothing_of_a_secret_is_left_in_memory(operation: Callable[[Lab], None]) -> None:
    backend = fresh()
    first = len(backend.watched.buffers)
    operation(Lab(backend))
    assert len(backend.watched.buffers) > first + 3
    assert left_behind(backend, first) == []


@pytest.mark.parametrize("operation", SECRET)
def test_nothing_of_a_secret_is_left_when_a_launch_fails(operation: Callable[[Lab], None]) -> None:
    backend = fresh()
    first, before = len(backend.watched.buffers), len(backend.watched.launches)
    operation(Lab(backend))
    launches = len(backend.watched.launches) - before
    for launch in range(0, launches, max(1, launches // 12)):
        with backend.watched.failing(launch), pytest.raises(BackendError, match="the test says so"):
            operation(Lab(backend))
        assert left_behind(backend, first) == []
    operation(Lab(backend))  # usable as before


def test_scalars_of_constant_time_products_are_not_left_in_memory() -> None:
    backend = WatchedBackend()
    lab = Lab(backend)
    secret = 0x123456789ABCDEF55
    rows = [[secret, -secret, 3], [7, secret, -secret]]
    bases = lab.up(lab.units(N2, 3), N2)
    lab.backend.multi_exp(bases, lab.magnitudes(rows, 3, 70), lab.signs(rows, 3), 70, constant_time=True)
    del bases
    gc.collect()
    needles = [x.to_bytes(9, "little")[:8] for x in (secret, (1 << 70) + secret, (1 << 70) - secret)]
    assert not [needle for needle in needles for data in backend.watched.contents() if needle in data]


# -- what is launched -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("constant_time", [False, True])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("m", "k", "bits"), [(2, 5, 9), (1, 600, 20), (3, 150, 40)])
def test_the_work_of_multi_exp_does_not_depend_on_values(
    backend: WatchedBackend, lab: Lab, m: int, k: int, bits: int, signed: bool, constant_time: bool
) -> None:
    bases = lab.up(lab.units(N2, k), N2)
    top = (1 << bits) - 1
    seen = set()
    for scalars in ([0] * m * k, [top] * m * k, lab.exponents(bits, m * k), [1, *[0] * (m * k - 1)]):
        for sign in (False, True) if signed else (False,):
            negative = np.full((m, k), sign) if signed else None
            magnitudes = limbs_from_ints(scalars, 1).reshape(m, k, 1)
            first = len(backend.watched.launches)
            lab.backend.multi_exp(bases, magnitudes, negative, bits, constant_time=constant_time)
            seen.add(tuple(backend.watched.launches[first:]))
    assert len(seen) == 1
    kernels = {kernel for kernel, _ in next(iter(seen))}
    assert ("segment_chunks" in kernels) is (not constant_time and k > 100)


def test_long_rows_leave_carries_in_rounds(backend: WatchedBackend, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a device with many places: chunks of a few positions, so that runs span chunks and rounds."""
    monkeypatch.setattr(backend, "_chunk_length", lambda context, rows, positions: 3)
    x = lab.units(N2, 200)
    a = lab.up(x, N2)
    for labels in ([i // 67 for i in range(200)], [0] * 200, [i * i % 23 for i in range(200)], list(range(200))):
        expected = [products(x, [int(s == t) for s in labels], N2) for t in range(200)]
        lab.same(lab.backend.segment_product(a, np.array(labels), 200), expected, N2, (200,))
    context = backend._context(N2)
    for window in (1, 4):
        rows = [[fixed(f"s{i}", 9) * (-1) ** i for i in range(start, start + 200)] for start in (0, 200)]
        expected = [products(x, row, N2) for row in rows]
        monkeypatch.setattr("hecore.backends.kernel_multi.WINDOWS", [window])
        monkeypatch.setattr("hecore.backends.kernel_multi.straus_cost", lambda *a, **k: float("inf"))
        result = lab.backend.multi_exp(a, lab.magnitudes(rows, 200, 9), lab.signs(rows, 200), 9)
        lab.same(result, expected, N2, (2,))
    assert context is backend._context(N2)


# -- shapes ---------------------------------------------------------------------------------------------------


SHAPES = [replace(shape, block=1) for shape in geometries(DeviceFacts("opencl", "", "", 1, 64, 1, 1, 1))]
OFTEN = {*((False, digits) for digits in (12, 38, 75, 152, 304)), *((True, digits) for digits in (12, 38, 75))}


@pytest.mark.parametrize(
    ("shape", "square"),
    [  # what the contract suite compiles, too; each takes seconds
        pytest.param(shape, square, marks=() if (square, shape.digits) in OFTEN else pytest.mark.slow)
        for square in (False, True)
        for shape in SHAPES
    ],
    ids=str,
)
def test_every_shape_gives_equal_results_up_to_its_last_bit(shape: Geometry, square: bool) -> None:
    """Moduli as long as a thread's integer may be, and one that shorter shapes hold too."""
    backend = WatchedBackend()
    backend._shapes = [shape]
    bits = shape.bits - SPARE_BITS
    for root in ((1 << bits) - 1, fixed("root", bits) | 1 << (bits - 1) | 1, CRT.p):
        modulus = Modulus.square(root) if square else Modulus(root)
        assert backend._context(modulus).geometry == shape
        operations(Lab(backend), modulus)
    with pytest.raises(ParameterError, match="bits, at most"):
        backend._context(Modulus((1 << bits) + 1))


@pytest.mark.parametrize(("lanes", "serial"), [(32, False), (1, False), (1, True)])
def test_a_modulus_takes_the_shortest_shape_that_holds_it(lanes: int, serial: bool) -> None:
    facts = DeviceFacts("opencl", "", "", lanes, 128, 1, 1, 1, serial)
    shapes = geometries(facts)
    assert [shape.bits for shape in shapes] == sorted(shape.bits for shape in shapes)
    assert shapes[-1].bits >= 8192 + SPARE_BITS
    for bits in (2, 106, 107, 512, 1024, 2048, 3072, 4096, 6144, 8192):
        shape = geometry_for(Modulus((1 << bits) - 1), shapes)
        assert shape.bits >= bits + SPARE_BITS
        assert all(other.bits < bits + SPARE_BITS for other in shapes[: shapes.index(shape)])
        assert shape.width % shape.rows == 0
        assert shape.block % shape.lanes == 0
        assert 3 * shape.width**2 // shape.width * ((1 << shape.radix) + 512) ** 2 + (1 << 39) < 1 << 64
        assert 4 * 3 * shape.integers * (shape.width | 1) < 48 << 10  # slots in local memory
