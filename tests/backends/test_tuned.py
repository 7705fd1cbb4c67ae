"""Shapes to choose from, shapes chosen, and what is made of files that say which."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from hecore.arith.modulus import Modulus
from hecore.backends import tuned
from hecore.backends.device import DeviceFacts
from hecore.backends.kernel_shapes import SPARE_BITS, candidates, geometries, geometry_for, shortest, tried
from hecore.errors import BackendError, ParameterError
from hecore.tuning import save

if TYPE_CHECKING:
    from pathlib import Path

CARD = DeviceFacts("cuda", "a card", "driver 1", 32, 128, 1 << 17, 1 << 36, 1 << 36)
OTHER_CARD = DeviceFacts("cuda", "a card", "driver 2", 32, 128, 1 << 17, 1 << 36, 1 << 36)
ALONE = DeviceFacts("opencl", "no shuffles", "", 1, 64, 1 << 12, 1 << 30, 1 << 28)
PROCESSOR = DeviceFacts("opencl", "a processor", "", 1, 8, 16, 1 << 30, 1 << 28, serial=True)
DEVICES = pytest.mark.parametrize("facts", [CARD, ALONE, PROCESSOR], ids=lambda facts: facts.description)
LENGTHS = (256, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HECORE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tuning"


# -- what there is to choose from -----------------------------------------------------------------------------


@DEVICES
@pytest.mark.parametrize("bits", LENGTHS)
def test_every_candidate_is_a_shape_that_the_kernels_have(facts: DeviceFacts, bits: int) -> None:
    found = candidates(facts, bits)
    assert found[0] == geometry_for(Modulus((1 << bits) - 1), geometries(facts))
    assert len(found) == len(set(found))
    for shape in found:
        assert shape.bits >= bits + SPARE_BITS
        assert shape.radix in (27, 28)
        assert 3 * shape.width * ((1 << shape.radix) + 512) ** 2 + (1 << 39) < 1 << 64  # montgomery.h
        assert shape.block % shape.lanes == 0
        assert shape.lanes == 1 or (facts.lanes % shape.lanes == 0 and shape.digits >= 4)
        assert shape.width % shape.rows == 0
        assert facts.serial or shape in geometries(facts) or shape.width % 2 == 0
        assert facts.serial == (shape.block == 1)
        assert 4 * 3 * shape.integers * (shape.width | 1) < 48 << 10  # slots in local memory


def test_a_card_has_one_thread_and_several_to_choose_from() -> None:
    assert {shape.lanes for shape in candidates(CARD, 512)} == {1, 2}
    assert {shape.lanes for shape in candidates(CARD, 1024)} == {2, 4}
    assert {shape.lanes for shape in candidates(CARD, 2048)} == {4, 8}
    assert {shape.lanes for shape in candidates(CARD, 3072)} == {4, 8, 16}
    assert {shape.lanes for shape in candidates(CARD, 8192)} == {16, 32}
    assert {shape.lanes for shape in candidates(ALONE, 2048)} == {1}
    assert len({shape.block for shape in candidates(ALONE, 2048)}) > 1


def test_a_card_chooses_from_a_closed_list_and_from_no_shape_much_longer() -> None:
    """What is on the list has been looked at as machine code."""
    for bits in range(64, 8193, 64):
        found = candidates(CARD, bits)
        assert set(found) <= {*geometries(CARD), *tried(CARD)}
        assert all(shape.bits <= 1.125 * found[0].bits for shape in found)
    narrow = DeviceFacts("opencl", "half warps", "", 16, 128, 1 << 17, 1 << 36, 1 << 36)
    assert max(shape.lanes for shape in tried(narrow)) == 16


def test_more_bits_than_any_shape_has() -> None:
    with pytest.raises(ParameterError, match="10000 bits"):
        candidates(CARD, 10_000)


# -- what takes whose place -----------------------------------------------------------------------------------


@DEVICES
@pytest.mark.parametrize("bits", LENGTHS)
def test_what_was_chosen_is_used_and_nothing_is_lost(facts: DeviceFacts, bits: int) -> None:
    for shape in candidates(facts, bits):
        found = tuned.replaced(facts, {bits: shape})
        assert shortest(found, bits) == shape
        assert [one.bits for one in found] == sorted(one.bits for one in found)
        assert found[-1].bits >= geometries(facts)[-1].bits


def test_choices_for_several_lengths() -> None:
    chosen = {bits: candidates(CARD, bits)[-1] for bits in LENGTHS}
    found = tuned.replaced(CARD, chosen)
    assert all(shortest(found, bits) == shape for bits, shape in chosen.items())
    assert all(a.bits < b.bits for a, b in pairwise(found))


# -- files ----------------------------------------------------------------------------------------------------


def test_kept_and_found_again_by_the_same_device_alone(folder: Path) -> None:
    assert tuned.measured(CARD) == {}
    assert tuned.shapes(CARD) == geometries(CARD)
    first, second = candidates(CARD, 1024)[1], candidates(CARD, 2048)[1]
    assert save(CARD, {1024: first}).parent == folder
    save(CARD, {2048: second})
    assert tuned.measured(CARD) == {1024: first, 2048: second}
    assert shortest(tuned.shapes(CARD), 2048) == second
    assert tuned.measured(OTHER_CARD) == {}
    assert [path.stat().st_mode & 0o077 for path in folder.iterdir()] == [0]


def test_another_text_of_the_kernels_has_results_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    save(CARD, {1024: candidates(CARD, 1024)[1]})
    monkeypatch.setattr("hecore.kernels.device.source", lambda program, dialect: "another text")
    assert tuned.measured(CARD) == {}


def written(**changes: Any) -> bytes:
    shape = {**tuned.to_json(candidates(CARD, 1024)[1]), **changes}
    return json.dumps({"format": tuned.FORMAT, "shapes": {"1024": shape}}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"[" * 30_000,
        b'{"format": 2, "shapes": {}}',
        b'{"format": 1}',
        b'{"format": 1, "shapes": []}',
        b'{"format": 1, "shapes": {"1024": null}}',
        b'{"format": 1, "shapes": {"-1": {}}}',
        b'{"format": 1, "shapes": {"99999": {}}}',
        b'{"format": 1, "shapes": {"1e3": {}}}',
        written(lanes=64),
        written(digits=2),
        written(radix=32),
        written(block=1 << 20),
        written(block="128"),
        written(more=1),
        written() + b" " * (1 << 16),
    ],
    ids=lambda data: repr(data[:60]),
)
def test_damaged_files_warn_and_are_measured_anew(data: bytes) -> None:
    file = save(CARD, {1024: candidates(CARD, 1024)[1]})
    file.write_bytes(data)
    with pytest.raises(BackendError, match=rf"{file.name}.*hecore tune"):
        tuned.measured(CARD)
    with pytest.warns(RuntimeWarning, match=file.name):
        assert tuned.shapes(CARD) == geometries(CARD)
    save(CARD, {2048: candidates(CARD, 2048)[0]})
    assert tuned.measured(CARD) == {2048: candidates(CARD, 2048)[0]}


@pytest.mark.filterwarnings("ignore:hecore found no private writable folder")
def test_nowhere_to_keep_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HECORE_CACHE_DIR", str(tmp_path / "file"))
    assert tuned.shapes(CARD) == geometries(CARD)
    with pytest.raises(BackendError, match="HECORE_CACHE_DIR"):
        save(CARD, {})
