"""Results on disk, where `backends.tuned` finds them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hecore.backends import tuned
from hecore.errors import BackendError
from hecore.keystore import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hecore.backends.device import DeviceFacts
    from hecore.backends.kernel_shapes import Geometry


def save(facts: DeviceFacts, chosen: Mapping[int, Geometry]) -> Path:
    """Keep the shape chosen for roots of so many bits, beside what is known of other lengths; whole or not at all.

    Backends that start from now on use it. Raises BackendError where no private folder can be had.
    """
    file = tuned.path(facts)
    if file is None:
        raise BackendError("cannot keep what was measured: no private writable folder; set HECORE_CACHE_DIR to one")
    try:
        known = tuned.measured(facts)
    except BackendError:  # damaged: what is new takes its place
        known = {}
    shapes = {str(bits): tuned.to_json(shape) for bits, shape in sorted({**known, **chosen}.items())}
    data = {"format": tuned.FORMAT, "device": facts.description, "shapes": shapes}
    write_atomically(file, json.dumps(data, indent=1).encode(), mode=0o600)
    return file
