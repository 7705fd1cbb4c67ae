"""Shapes of integers that `hecore tune` measured on a device: read here, written by `hecore.tuning`.

A file belongs to a device, its driver and the text of its kernels: results of another text are not found. It may say
no more than which of `candidates` to take, so that no file makes a backend wrong.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from typing import TYPE_CHECKING, Any

from hecore.backends.kernel_shapes import Geometry, candidates, geometries, shortest
from hecore.errors import BackendError, ParameterError
from hecore.kernels import device as kernels
from hecore.kernels.private import private_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hecore.backends.device import DeviceFacts

FORMAT = 1
_LARGEST_FILE = 1 << 16


def path(facts: DeviceFacts) -> Path | None:
    """Where the results for a device lie, or would lie; None where no private folder can be had."""
    text = "\0".join((str(FORMAT), facts.identity, kernels.source("integer", facts.dialect)))
    folder = private_folder("tuning")
    return None if folder is None else folder / f"{facts.dialect}-{hashlib.sha256(text.encode()).hexdigest()[:40]}.json"


def shapes(facts: DeviceFacts) -> list[Geometry]:
    """All shapes on this device, the shortest first: those of `geometries`, but the measured ones in their place.

    Damaged results are no reason not to compute: they are left aside with a RuntimeWarning.
    """
    try:
        chosen = measured(facts)
    except BackendError as error:
        warnings.warn(f"{error}. Until then shapes are those that nobody measured", RuntimeWarning, stacklevel=2)
        chosen = {}
    return replaced(facts, chosen)


def measured(facts: DeviceFacts) -> dict[int, Geometry]:
    """The shape that was fastest for roots of so many bits. Raises BackendError where the file is damaged."""
    file = path(facts)
    if file is None or not file.exists():
        return {}
    try:
        if file.stat().st_size > _LARGEST_FILE:
            raise ParameterError(f"more than {_LARGEST_FILE} bytes")
        return _checked(facts, json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:  # ParameterError and what json raises are ValueErrors
        raise BackendError(
            f"cannot read the tuning results {file}: {error}; remove the file, or measure again with `hecore tune`"
        ) from error


def replaced(facts: DeviceFacts, chosen: Mapping[int, Geometry]) -> list[Geometry]:
    """`geometries` with the shapes `chosen` for roots of so many bits in the places of those that served these lengths.

    Whatever the former hold, the latter do. The shortest shape still serves a modulus: of two lengths that shared one,
    the longer takes the shorter's choice where that holds it.
    """
    standing = geometries(facts)
    found = set(standing)
    for bits, shape in chosen.items():
        before = shortest(standing, bits)
        if before is not None and before.bits <= shape.bits:  # else it serves what is longer than the new one
            found.discard(before)
    return sorted(found | set(chosen.values()), key=lambda shape: (shape.bits, shape.lanes))


def _checked(facts: DeviceFacts, data: Any) -> dict[int, Geometry]:
    if not isinstance(data, dict) or data.get("format") != FORMAT or not isinstance(data.get("shapes"), dict):
        raise ParameterError(f"not of format {FORMAT}")
    found = {}
    for bits, fields in data["shapes"].items():
        if not (bits.isascii() and bits.isdigit() and len(bits) < 6):
            raise ParameterError(f"{bits[:20]!r} is no number of bits")
        known = candidates(facts, int(bits))
        chosen = next((shape for shape in known if fields == to_json(shape)), None)
        if chosen is None:
            raise ParameterError(f"the shape for {bits} bits is none of the {len(known)} that this device has")
        found[int(bits)] = chosen
    return found


def to_json(shape: Geometry) -> dict[str, int]:
    return {"lanes": shape.lanes, "digits": shape.digits, "radix": shape.radix, "block": shape.block}
