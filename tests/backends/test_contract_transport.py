"""Contract suite: arrays to and from a backend, and the operations that move residues without arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from hecore.arith.limbs import ints_from_limbs, limbs_from_ints
from hecore.arith.modulus import Modulus
from hecore.backends.protocol import IntegerBackend
from hecore.backends.reference import ReferenceBackend
from hecore.errors import BackendMismatchError, OperandTypeError, ParameterError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hecore.backends.protocol import ResidueArray
    from tests.backends.conftest import Lab

SHAPES = [(), (0,), (1,), (7,), (8,), (9,), (33,), (3, 0), (0, 3), (2, 3, 4)]


def size_of(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def test_it_is_a_backend_with_a_name_and_a_device(backend: IntegerBackend) -> None:
    assert isinstance(backend, IntegerBackend)
    assert isinstance(backend.name, str)
    assert backend.name
    assert isinstance(backend.device, str)
    assert backend.device
    assert isinstance(backend.simulated, bool)
    backend.synchronize()


def test_what_goes_up_comes_down(lab: Lab, modulus: Modulus) -> None:
    values = lab.values(modulus, 33)
    lab.same(lab.up(values, modulus), values, modulus, (33,))


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_survive_the_round_trip(lab: Lab, small_modulus: Modulus, shape: tuple[int, ...]) -> None:
    values = lab.values(small_modulus, size_of(shape))
    a = lab.up(values, small_modulus, shape)
    lab.same(a, values, small_modulus, shape)
    assert a.size == size_of(shape)
    assert a.ndim == len(shape)


def test_upload_takes_any_memory_layout(lab: Lab, small_modulus: Modulus) -> None:
    values = lab.values(small_modulus, 12)
    limbs = limbs_from_ints(values, small_modulus.limbs)
    lab.same(lab.backend.upload(np.asfortranarray(limbs), small_modulus), values, small_modulus, (12,))
    lab.same(lab.backend.upload(limbs[::-1], small_modulus), values[::-1], small_modulus, (12,))
    lab.same(lab.backend.upload(limbs[::2], small_modulus), values[::2], small_modulus, (6,))
    transposed = limbs.reshape(3, 4, -1).transpose(1, 0, 2)
    expected = [values[4 * i + j] for j in range(4) for i in range(3)]
    lab.same(lab.backend.upload(transposed, small_modulus), expected, small_modulus, (4, 3))
    limbs.setflags(write=False)
    lab.same(lab.backend.upload(limbs, small_modulus), values, small_modulus, (12,))


def test_an_array_shares_no_memory_with_the_host(lab: Lab, small_modulus: Modulus) -> None:
    values = lab.values(small_modulus, 9)
    limbs = limbs_from_ints(values, small_modulus.limbs)
    a = lab.backend.upload(limbs, small_modulus)
    limbs[:] = 0
    first = lab.backend.download(a)
    assert ints_from_limbs(first) == values
    if first.flags.writeable:
        first[:] = 0
    lab.same(a, values, small_modulus, (9,))


def test_upload_refuses_what_is_not_below_the_modulus(lab: Lab, modulus: Modulus) -> None:
    top = (1 << 64 * modulus.limbs) - 1
    for bad in {modulus.value, min(modulus.value + 1, top), top} - {0}:
        with pytest.raises(ParameterError) as caught:
            lab.up([0, 1, bad], modulus)
        assert str(bad) not in str(caught.value) or bad < 10


def test_upload_refuses_other_forms(lab: Lab) -> None:
    modulus = Modulus(2**100 + 277)
    upload = lab.backend.upload
    with pytest.raises(ShapeError):
        upload(np.zeros((4, 1), dtype=np.uint64), modulus)
    with pytest.raises(ShapeError):
        upload(np.zeros((4, 3), dtype=np.uint64), modulus)
    with pytest.raises(ShapeError):
        upload(np.array(1, dtype=np.uint64), modulus)
    with pytest.raises(OperandTypeError):
        upload(np.zeros((4, 2), dtype=np.int64), modulus)
    with pytest.raises(OperandTypeError):
        upload([[0, 0]], modulus)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", SHAPES)
def test_take_is_a_flat_gather(lab: Lab, small_modulus: Modulus, shape: tuple[int, ...]) -> None:
    values = lab.values(small_modulus, 17)
    a = lab.up(values, small_modulus)
    indices = (np.arange(size_of(shape), dtype=np.intp) * 7 % 17).reshape(shape)
    expected = [values[i] for i in indices.ravel()]
    lab.same(lab.backend.take(a, indices), expected, small_modulus, shape)


def test_take_slices_transposes_and_broadcasts(lab: Lab, some_modulus: Modulus) -> None:
    values = lab.values(some_modulus, 12)
    a = lab.up(values, some_modulus, (3, 4))
    grid = np.arange(12, dtype=np.intp).reshape(3, 4)
    for index in (grid.T, grid[:, 1:3], grid[::-1, ::-2], np.broadcast_to(grid[:, :1], (3, 5)), grid[2, 3], grid[:0]):
        index = np.asarray(index)
        lab.same(lab.backend.take(a, index), [values[i] for i in index.ravel()], some_modulus, index.shape)


def test_take_accepts_every_integer_type(lab: Lab, small_modulus: Modulus) -> None:
    values = lab.values(small_modulus, 9)
    a = lab.up(values, small_modulus)
    for dtype in (np.int8, np.uint8, np.int32, np.uint64):
        lab.same(lab.backend.take(a, np.array([8, 0], dtype=dtype)), [values[8], values[0]], small_modulus, (2,))


def test_take_of_nothing(lab: Lab, small_modulus: Modulus) -> None:
    empty = lab.up([], small_modulus)
    lab.same(lab.backend.take(empty, np.zeros((2, 0), dtype=np.intp)), [], small_modulus, (2, 0))
    with pytest.raises(ParameterError):
        lab.backend.take(empty, np.zeros(1, dtype=np.intp))


def test_take_refuses_bad_indices(lab: Lab, small_modulus: Modulus) -> None:
    a = lab.up(lab.values(small_modulus, 9), small_modulus)
    for bad in (-1, 9, 2**40):
        with pytest.raises(ParameterError):
            lab.backend.take(a, np.array([0, bad], dtype=np.intp))
    with pytest.raises(OperandTypeError):
        lab.backend.take(a, np.array([0.0]))
    with pytest.raises(OperandTypeError):
        lab.backend.take(a, np.array([True] * 9))
    with pytest.raises(OperandTypeError):
        lab.backend.take(a, [0, 1])  # type: ignore[arg-type]


def test_concatenate_flattens_and_joins(lab: Lab, some_modulus: Modulus) -> None:
    values = lab.values(some_modulus, 24)
    parts = [
        lab.up(values[:1], some_modulus, ()),
        lab.up([], some_modulus),
        lab.up(values[1:7], some_modulus, (2, 3)),
        lab.up([], some_modulus, (4, 0)),
        lab.up(values[7:16], some_modulus),
        lab.up(values[16:], some_modulus, (2, 2, 2)),
    ]
    lab.same(lab.backend.concatenate(parts), values, some_modulus, (24,))
    lab.same(lab.backend.concatenate(parts[2:3]), values[1:7], some_modulus, (6,))
    lab.same(lab.backend.concatenate(parts[1:2]), [], some_modulus, (0,))


def test_collect_joins_chunks_one_at_a_time(lab: Lab, some_modulus: Modulus) -> None:
    values = lab.values(some_modulus, 20)
    alive: list[int] = []

    def chunks() -> Iterator[ResidueArray]:
        for start in (0, 7, 8, 8):
            alive.append(start)
            yield lab.up(values[start : start + (7, 1, 0, 12)[len(alive) - 1]], some_modulus)

    lab.same(lab.backend.collect(chunks(), 20), values, some_modulus, (20,))
    assert alive == [0, 7, 8, 8]
    lab.same(lab.backend.collect(iter([lab.up(values, some_modulus)]), 20), values, some_modulus, (20,))


def test_collect_refuses_what_does_not_add_up(lab: Lab) -> None:
    seven, nine = Modulus(7), Modulus(9)
    for chunks, size in (([], 0), ([lab.up([1, 2], seven)], 3), ([lab.up([1, 2], seven)], 1)):
        with pytest.raises(ShapeError):
            lab.backend.collect(chunks, size)
    with pytest.raises(ParameterError):
        lab.backend.collect([lab.up([1], seven), lab.up([1], nine)], 2)


def test_concatenate_refuses_nothing_and_mixed_moduli(lab: Lab) -> None:
    with pytest.raises(ShapeError):
        lab.backend.concatenate([])
    with pytest.raises(ParameterError):
        lab.backend.concatenate([lab.up([1], Modulus(7)), lab.up([1], Modulus(9))])
    with pytest.raises(ParameterError):  # the same value, but one knows its root
        lab.backend.concatenate([lab.up([1], Modulus(49)), lab.up([1], Modulus.square(7))])


def test_reshape_keeps_the_order(lab: Lab, small_modulus: Modulus) -> None:
    values = lab.values(small_modulus, 24)
    a = lab.up(values, small_modulus, (4, 6))
    for shape in ((24,), (2, 3, 4), (1, 24, 1), (4, 6)):
        lab.same(lab.backend.reshape(a, shape), values, small_modulus, shape)
    lab.same(lab.backend.reshape(lab.up([5], small_modulus), ()), [5], small_modulus, ())
    lab.same(lab.backend.reshape(lab.up([], small_modulus), (3, 0)), [], small_modulus, (3, 0))


def test_reshape_refuses_another_size(lab: Lab, small_modulus: Modulus) -> None:
    a = lab.up(lab.values(small_modulus, 6), small_modulus)
    for shape in ((5,), (2, 4), (), (0,), (-1,), (-2, -3)):
        with pytest.raises(ShapeError):
            lab.backend.reshape(a, shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bits", [1, 63, 64, 65, 1024])
def test_random_exponents_have_shape_and_range(backend: IntegerBackend, shape: tuple[int, ...], bits: int) -> None:
    e = backend.random_exponents(shape, bits)
    assert e.bits == bits
    assert e.shape == shape
    assert e.limbs.dtype == np.uint64
    assert all(x < 1 << bits for x in ints_from_limbs(e.limbs))


def test_random_exponents_fill_the_range_and_do_not_repeat(backend: IntegerBackend) -> None:
    draws = [*ints_from_limbs(backend.random_exponents((64,), 129).limbs)]
    draws += ints_from_limbs(backend.random_exponents((64,), 129).limbs)
    assert len(set(draws)) == 128  # chance of a false alarm below 2**-115
    every, some = (1 << 129) - 1, 0
    for x in draws:
        every, some = every & x, some | x
    assert some == (1 << 129) - 1  # chance below 129 * 2**-128 each
    assert every == 0


def test_random_exponents_refuse_no_bits(backend: IntegerBackend) -> None:
    with pytest.raises(ParameterError):
        backend.random_exponents((3,), 0)


def test_a_handle_prints_no_residue(lab: Lab) -> None:
    modulus = Modulus(2**64 - 59)
    secret = 0x123456789ABCDEF
    text = repr(lab.up([secret], modulus))
    assert str(secret) not in text
    assert f"{secret:x}" not in text.lower()


def test_operands_of_another_backend_are_refused(lab: Lab, small_modulus: Modulus) -> None:
    other = ReferenceBackend()
    stranger = other.upload(limbs_from_ints([1, 2], small_modulus.limbs), small_modulus)
    own = lab.up([1, 2], small_modulus)
    backend = lab.backend
    one = lab.own([1, 2], 5)
    calls = [
        lambda: backend.download(stranger),
        lambda: backend.take(stranger, np.array([0])),
        lambda: backend.concatenate([own, stranger]),
        lambda: backend.reshape(stranger, (2, 1)),
        lambda: backend.mod_mul(own, stranger),
        lambda: backend.mod_mul(stranger, own),
        lambda: backend.mod_exp(stranger, one),
        lambda: backend.mod_exp_vartime(stranger, one),
        lambda: backend.fixed_base_exp(other.fixed_base_table(2, small_modulus, 5), one),
        lambda: backend.multi_exp(stranger, lab.magnitudes([[1, 2]], 2, 5), lab.signs([[1, 2]], 2), 5),
        lambda: backend.product(stranger),
        lambda: backend.segment_product(stranger, np.array([0, 1]), 2),
        lambda: backend.batch_invert(stranger),
        lambda: backend.gcd_is_one(stranger),
        lambda: backend.reduce(stranger, small_modulus),
    ]
    for call in calls:
        with pytest.raises(BackendMismatchError, match=rf"\.to\('{backend.name}'\)"):
            call()  # type: ignore[no-untyped-call]


def test_what_is_no_array_is_refused(lab: Lab) -> None:
    with pytest.raises(OperandTypeError):
        lab.backend.download([1, 2])  # type: ignore[arg-type]
    with pytest.raises(OperandTypeError):
        lab.backend.mod_mul(lab.up([1], Modulus(7)), 3)  # type: ignore[arg-type]
    with pytest.raises(OperandTypeError):
        lab.backend.mod_exp(lab.up([1], Modulus(7)), 3)  # type: ignore[arg-type]
