"""Products of runs of equal keys, over all shapes, and the sorting before them: on the host's fibers."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.kernels.conftest import fixed
from tests.kernels.device.conftest import HOST_SHAPES, rows_of
from tests.kernels.device.host import Guarded, HostProgram, Words, signatures, text_of
from tests.kernels.device.lab import Lab, Shape, moduli

if TYPE_CHECKING:
    from pathlib import Path

FLAT = {"BLOCK": 64, "LANES": 1}
CASES = list(itertools.product(HOST_SHAPES, (False, True)))
NONE = 0xFFFFFFFF


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{'square' if case[1] else 'plain'}")
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    shape: Shape
    shape, square = request.param
    defines = shape.defines(rows_of(shape), square=square)
    folder = tmp_path_factory.mktemp("segments")
    program = HostProgram(folder, "segments", text_of("segments"), signatures("segments"), defines)
    return Lab(program, shape, moduli(shape)["largest"], square=square)


def flat(folder: Path, program: str) -> HostProgram:
    return HostProgram(folder, program, text_of(program), signatures(program), FLAT)


def array(values: object) -> Words:
    return np.ascontiguousarray(np.array(values, dtype=np.uint32))


def runs(lab: Lab, values: Words, order: Words | None, keys: list[list[int]], buckets: int, chunk: int) -> list[int]:
    """One round: the buckets' residues, then the carries multiplied in on the host."""
    rows, positions = len(keys), len(keys[0])
    chunks = -(-positions // chunk)
    one = lab.array(lab.montgomery(1))
    found, carry, carry_keys = (
        Guarded(n) for n in (rows * buckets * lab.words, rows * chunks * lab.words, rows * chunks)
    )
    found.words[:] = np.tile(one, rows * buckets)
    sizes = (positions, chunk, chunks, buckets)
    lab.runner.launch(
        "segment_chunks",
        rows * chunks * lab.shape.lanes,
        *(found.words, carry.words, carry_keys.words, values, order, int(order is not None), array(keys), *sizes),
        *(one, *lab.tail, rows * chunks),
        backwards=bool(chunk % 2),
    )
    products = [lab.value(row) for row in found.checked().reshape(-1, lab.words)]
    carries = carry.checked().reshape(-1, lab.words)
    if chunks > 1:
        for i, key in enumerate(carry_keys.checked().tolist()):
            at = i // chunks * buckets + key
            products[at] = products[at] * lab.value(carries[i]) % lab.modulus
    return products


KEYS = [
    [[0, 0, 0, 0, 0, 0, 0], [2, 2, 2, 2, 2, 2, 2]],  # a run through all chunks
    [[0, 0, 1, 1, 1, 3, 3], [0, 1, 1, 2, 3, 3, 3]],  # runs that end within chunks and at their ends
    [[0, 1, 2, 3, 3, 3, 3], [0, 0, 0, 0, 1, 2, 3]],
]


@pytest.mark.parametrize("keys", KEYS)
@pytest.mark.parametrize("chunk", [2, 3, 7, 9])
def test_runs_of_equal_keys(lab: Lab, keys: list[list[int]], chunk: int) -> None:
    values = lab.operands(1)
    order = [[fixed(f"order {r} {i}", 32) % len(values) for i in range(7)] for r in range(2)]
    expected = [1] * 8
    for (row, places), i in itertools.product(enumerate(order), range(7)):
        at = 4 * row + keys[row][i]
        expected[at] = expected[at] * lab.value(values[places[i]]) % lab.modulus
    assert runs(lab, values, array(order), keys, 4, chunk) == expected
    own = lab.array([values[i] for places in order for i in places])
    assert runs(lab, own, None, keys, 4, chunk) == expected


def test_keys_are_sorted(tmp_path: Path) -> None:
    """keys_from_magnitudes, rank, scan and scatter, as a round of Pippenger's launches them."""
    program = flat(tmp_path, "buckets")
    outputs, positions, words, window, bits = 3, 50, 2, 5, 41
    values = [[fixed(f"value {o} {i}", bits) for i in range(positions)] for o in range(outputs)]
    magnitudes = array([[[x & NONE, x >> 32] for x in row] for row in values])
    negative = np.array([[fixed(f"sign {o} {i}", 1) for i in range(positions)] for o in range(outputs)], dtype=np.uint8)
    windows = -(-bits // window)
    rows, buckets = windows * outputs, 2 << window
    count = rows * positions
    keys = Guarded(count)
    sizes = (words, window, positions, outputs, count)
    program.launch("keys_from_magnitudes", count, keys.words, magnitudes, negative, 1, *sizes)
    expected = [
        [(values[o][i] >> t * window & 31) + 32 * int(negative[o, i]) for i in range(positions)]
        for t in range(windows)
        for o in range(outputs)
    ]
    assert keys.checked().reshape(rows, positions).tolist() == expected
    counts, ranks, order, ordered = (Guarded(n) for n in (rows * buckets, count, count, count))
    counts.words[:] = 0
    program.launch("rank", count, counts.words, ranks.words, keys.words, positions, buckets, count, backwards=True)
    program.launch("scan", rows * FLAT["BLOCK"], counts.words, buckets)
    starts = [[sum(key < b for key in row) for b in range(buckets)] for row in expected]
    assert counts.checked().reshape(rows, buckets).tolist() == starts
    places = (order.words, ordered.words, keys.words, ranks.words, counts.words, positions, buckets, count)
    program.launch("scatter", count, *places)
    assert ordered.checked().reshape(rows, positions).tolist() == [sorted(row) for row in expected]
    for row, found in zip(expected, order.checked().reshape(rows, positions).tolist(), strict=True):
        assert sorted(found) == list(range(positions))
        assert [row[i] for i in found] == sorted(row)


@pytest.mark.parametrize("bits", [9, 31, 32, 64, 70])
def test_signed_scalars(tmp_path: Path, bits: int) -> None:
    program = flat(tmp_path, "scalars")
    words = 2 * -(-bits // 64)
    values = [0, 1, (1 << bits) - 1, 1 << bits - 1, *(fixed(f"scalar {i}", bits) for i in range(20))]
    count = 2 * len(values)
    signs = np.array([0] * len(values) + [1] * len(values), dtype=np.uint8)
    magnitudes = array([[x >> 32 * k & NONE for k in range(words)] for x in values * 2])
    forms = {0: [*values, *[0] * len(values)], 1: [*[0] * len(values), *values]}
    forms[2] = [(1 << bits) + x for x in values] + [(1 << bits) - x for x in values]
    for form, expected in forms.items():
        out_words = -(-(bits + (form == 2)) // 32)
        out = Guarded(count * out_words)
        program.launch("signed_values", count, out.words, magnitudes, signs, words, out_words, form, bits, count)
        rows = out.checked().reshape(count, out_words).tolist()
        assert [sum(word << 32 * k for k, word in enumerate(row)) for row in rows] == expected


def test_digits_side_by_side(tmp_path: Path) -> None:
    program = flat(tmp_path, "scalars")
    outputs, stride, words, window, first, positions = 2, 23, 2, 4, 3, 17
    values = [[fixed(f"value {o} {i}", 42) for i in range(stride)] for o in range(outputs)]
    given = array([[[x & NONE, x >> 32] for x in row] for row in values])
    windows, packed = 11, -(-positions * window // 32)
    count = windows * outputs * packed
    out = Guarded(count)
    program.launch(
        "packed_digits", count, out.words, given, words, window, first, positions, stride, outputs, packed, count
    )
    rows = out.checked().reshape(windows, outputs, packed).tolist()
    for t, o in itertools.product(range(windows), range(outputs)):
        exponent = sum(word << 32 * k for k, word in enumerate(rows[t][o]))
        digits = [values[o][first + i] >> t * window & 15 for i in range(positions)]
        assert exponent == sum(digit << window * i for i, digit in enumerate(digits))


def test_rows_move_by_patterns(tmp_path: Path) -> None:
    program = flat(tmp_path, "moves")
    rows = np.arange(60, dtype=np.uint32).reshape(20, 3)
    for pattern, in_at, places in (
        ((1, 1, 0), 4, [4, 5, 6, 7, 8, 9]),  # a stretch
        ((1, 0, 0), 2, [2] * 6),  # one row repeated
        ((2, 1, 3), 0, [0, 3, 1, 4, 2, 5]),  # a transpose
        ((3, 6, 1), 3, [3, 4, 5, 9, 10, 11]),  # the upper halves of groups of six
    ):
        out = Guarded(7 * 3)
        out.words[:] = 99
        program.launch("move_rows", 18, out.words, 1, rows, in_at, *pattern, 3, 6)
        assert out.checked().reshape(7, 3).tolist() == [[99] * 3, *rows[places].tolist()]
        index = Guarded(6)
        program.launch("places", 6, index.words, in_at, *pattern, 6)
        assert index.checked().tolist() == places
    index = Guarded(6)
    program.launch("places", 6, index.words, 3, 3, NONE - 2, 1, 6)  # modulo 2^32: steps back
    assert index.checked().tolist() == [3, 4, 5, 0, 1, 2]
