"""A folder for compiled code that only this user can write: whoever can write there can run code here."""

from __future__ import annotations

import os
import stat
import tempfile
import warnings
from pathlib import Path


def _candidates() -> list[Path]:
    chosen = os.environ.get("HECORE_CACHE_DIR")
    if chosen:
        return [Path(chosen).absolute()]
    home = os.environ.get("XDG_CACHE_HOME", "")
    found = [Path(home) / "hecore"] if os.path.isabs(home) else []  # a relative one is to be ignored
    try:
        found.append(Path.home() / ".cache" / "hecore")
    except RuntimeError:  # no home directory: the temporary folder below is left
        found = list(found)
    return [*found, Path(tempfile.gettempdir()) / f"hecore-{os.getuid() if hasattr(os, 'getuid') else 'user'}"]


def _private(folder: Path) -> bool:
    """Create `folder` for this user alone; False where it cannot be, or is not ours alone."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.lstat()
        if not stat.S_ISDIR(state.st_mode):
            return False
        if hasattr(os, "getuid") and (state.st_uid != os.getuid() or state.st_mode & 0o077):
            return False
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def private_folder(*names: str) -> Path | None:
    """The folder `names` below the user's cache, private at each step; None (with a warning) where none can be had."""
    for base in _candidates():
        folders = [base.joinpath(*names[:i]) for i in range(len(names) + 1)]
        if all(_private(folder) for folder in folders):
            return folders[-1]
    warnings.warn(
        "hecore found no private writable folder for compiled kernels and will compile them in every process; "
        "set HECORE_CACHE_DIR to a folder that only you can write",
        RuntimeWarning,
        stacklevel=2,
    )
    return None
