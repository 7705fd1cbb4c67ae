"""How each scheme's run is shown: words, published sizes, targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hecore.bench import ckks_targets, targets
from hecore.bench.results import Row
from hecore.bench.targets import Target


@dataclass(frozen=True)
class Scheme:
    """`size` is what a row's size is called; `rates` says whether items a second or seconds an item are shown."""

    name: str
    title: str
    size: str
    rates: bool
    is_published: Callable[[Row], bool]
    label: Callable[[Row], str]
    targets: tuple[Target, ...]
    targets_at: str
    floor_note: str


def _paillier_label(row: Row) -> str:
    return f"{row.operation}, {row.item}s"


def _ckks_label(row: Row) -> str:
    return f"{row.operation}, {row.size}"


SCHEMES = {
    "paillier": Scheme(
        "paillier",
        "Paillier, 2048-bit key",
        "key",
        rates=True,
        is_published=lambda row: row.size == targets.KEY_BITS,
        label=_paillier_label,
        targets=targets.PAILLIER,
        targets_at="one thread, 2048-bit key",
        floor_note="`executed` and `schoolbook` are shares of the measured multiply-add peak, by the multiply-adds "
        "that were issued and by those of plain operand scanning modulo the full modulus.",
    ),
    "ckks": Scheme(
        "ckks",
        "CKKS",
        "parameters",
        rates=False,
        is_published=lambda row: not row.insecure,
        label=_ckks_label,
        targets=ckks_targets.CKKS,
        targets_at="one thread",
        floor_note="The share of the peak is by counted vector instructions: those of the transforms and of the "
        "products of residues, nothing else.",
    ),
}
