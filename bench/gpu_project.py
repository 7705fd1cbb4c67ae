"""What counts promise of cards that were not at hand: projected, never measured.

What a card does at most in a second, over what an operation takes: wide multiply-adds (`backends.kernel_counts`), FP64
operations or bytes. The first is published but for one thing: whether a multiply-add of 32 by 32 bits into 64 is issued
at the rate of one into 32 bits or at half of it. Both are given, each at all of it and at `SHARE`, an assumption. Not
counted: what is no multiply-add, tables, and transfers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hecore.arith.modulus import CrtModulus, Modulus
from hecore.backends.device import DeviceFacts
from hecore.backends.kernel_ring_counts import multiplication, total_bytes, transform_bytes
from hecore.backends.kernel_shapes import geometries
from hecore.bench import gpu_fp64, report
from hecore.bench.gpu_targets import PUBLISHED_PRODUCT
from hecore.bench.gpu_work import ModularWork, decryption, decryption_bounded, encryption
from hecore.errors import ParameterError

BEGIN, END = "<!-- bench:projected:begin -->", "<!-- bench:projected:end -->"
SHARE = 0.6
_FULL_RATE = 64  # 32-bit multiply-adds a clock and multiprocessor: CUDA's programming guide, for 8.0 and 9.0
_MEMORY = 80 << 30


@dataclass(frozen=True)
class ProjectedCard:
    """As published: multiprocessors, largest clock, FP64 multiply-adds a clock and multiprocessor, bytes a second."""

    name: str
    multiprocessors: int
    clock: float
    fp64: int
    bandwidth: float

    @property
    def wide(self) -> float:
        """Multiply-adds a second at full rate."""
        return self.multiprocessors * _FULL_RATE * self.clock

    @property
    def double(self) -> float:
        return self.multiprocessors * self.fp64 * self.clock


CARDS = (
    ProjectedCard("H100 SXM", 132, 1.98e9, 64, 3.35e12),
    ProjectedCard("A100 SXM 80 GB", 108, 1.41e9, 32, 2.039e12),
)
FACTS = DeviceFacts("cuda", "a card of this class", "", 32, 128, 132 * 2048, _MEMORY, _MEMORY)


@dataclass(frozen=True)
class Projected:
    """One operation and what it takes: `count` of `kind` ("wide", "double", "bytes"); `target`: the least a second."""

    operation: str
    count: float
    kind: str
    target: float | None = None

    def rate(self, card: ProjectedCard) -> float:
        """Operations a second if nothing else took time, multiply-adds at full rate."""
        ceilings = {"wide": card.wide, "double": card.double, "bytes": card.bandwidth}
        return ceilings[self.kind] / self.count


def projected() -> Iterator[Projected]:
    """The operations that have a target, and what competes with them."""
    shapes = geometries(FACTS)
    yield Projected("4096-bit Montgomery product", _plain(4096).counts.product, "wide")
    yield Projected(
        "4096-bit Montgomery product by FP64", gpu_fp64.operations(gpu_fp64.shapes(FACTS, 4096)[0]), "double"
    )
    for bits in (2048, 4096):
        yield Projected(f"mod_exp {bits}/{bits // 2}, plain", _plain(bits).power(bits // 2).executed, "wide")
        yield Projected(f"mod_exp {bits}/{bits // 2}, square form", _square(bits).power(bits // 2).executed, "wide")
    encrypt = encryption(Modulus.square((1 << 2048) - 1), 1024, shapes)
    yield Projected("Paillier-2048 encryption, public key", encrypt.executed, "wide", 1.5e6)
    crt = CrtModulus((1 << 1024) - 1, (1 << 1024) - 3)  # as good as primes, to count
    yield Projected("Paillier-2048 decryption, both factors", decryption(crt, shapes).executed, "wide", 250e3)
    yield Projected("the same of values with a bound", decryption_bounded(crt, shapes).executed, "wide", 250e3)
    term = _square(2048).multi_exp(40, 10**6, 24)
    yield Projected("mat-vec 40 × 10⁶, 1024-bit key, a term", term.executed, "wide", 300e6)
    yield Projected("NTT, N=2^16, a residue polynomial", transform_bytes(FACTS, 1 << 16), "bytes")
    product = total_bytes(multiplication(FACTS, 1 << 14, 8, 1, 1, batch=32), 1 << 14)
    yield Projected("ct×ct, relinearise, rescale, N=2^14, 8+1 primes", product, "bytes", 10 / PUBLISHED_PRODUCT)


def markdown() -> str:
    """A table, and what it rests on."""
    header = ["projected, not measured", "takes", "target"]
    for card in CARDS:
        header += [f"{card.name}: all of it", f"{100 * SHARE:.0f} % of it"]
    body = []
    for entry in projected():
        cells = [entry.operation, f"{report.scaled(entry.count)} {_WORDS[entry.kind]}"]
        cells.append(report.scaled(entry.target) if entry.target else report.MISSING)
        for card in CARDS:
            cells += [_cell(entry, entry.rate(card) * share) for share in (1, SHARE)]
        body.append(cells)
    cards = "; ".join(
        f"{c.name}: {c.multiprocessors} multiprocessors at {c.clock / 1e9:.2f} GHz, "
        f"{report.scaled(c.wide)} wide multiply-adds/s at full rate ({_FULL_RATE} a clock and multiprocessor), "
        f"{report.scaled(c.wide / 2)} at half, {report.scaled(c.double)} FP64 multiply-adds/s, "
        f"{report.scaled(c.bandwidth)}B/s"
        for c in CARDS
    )
    return (
        f"{report.markdown_table(header, body)}\n\n"
        "A second, counted and not measured: no card has run this. Where two numbers stand, wide multiply-adds "
        f"(32 × 32 + 64 bits) are issued at the rate of narrow ones or at half of it, which is not published. {cards}."
    )


def update_page(path: Path) -> None:
    """Put table and text between a page's two marks. Raises ParameterError where they are not there once, in order."""
    text = path.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ParameterError(f"cannot update {path.name}: it needs the line {BEGIN} and after it {END}, once each")
    head, rest = text.split(BEGIN)
    path.write_text(f"{head}{BEGIN}\n{markdown()}\n{END}{rest.split(END)[1]}", encoding="utf-8")


_WORDS = {"wide": "wide multiply-adds", "double": "FP64 operations", "bytes": "bytes"}


def _cell(entry: Projected, rate: float) -> str:
    full = report.scaled(rate)
    return f"{full} or {report.scaled(rate / 2)}" if entry.kind == "wide" else full


def _plain(bits: int) -> ModularWork:
    return ModularWork.of(Modulus((1 << bits) - 1), geometries(FACTS))


def _square(bits: int) -> ModularWork:
    return ModularWork.of(Modulus.square((1 << bits // 2) - 1), geometries(FACTS))
