"""Packages that a machine without a registry lacks, from wheels that were carried there in a folder.

A wheel is an archive of what belongs on `sys.path`; those named in `device_wheels.txt` are unpacked into a temporary
folder. Nothing is installed and nothing is fetched.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

from hecore.errors import BackendUnavailableError

LIST = Path(__file__).resolve().with_name("device_wheels.txt")
FOLDER = Path(__file__).resolve().parent.parent / ".whl"
OPTIONAL = ("gmpy2",)
_MODULES = {"cffi": "_cffi_backend"}  # what tells whether a package is there, where it is not its own name
_PLATFORMS = "--platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64"


def named() -> dict[str, str]:
    """Package -> its requirement, as `device_wheels.txt` lists them."""
    lines = [line.strip() for line in LIST.read_text(encoding="utf-8").splitlines()]
    return {line.partition("==")[0]: line for line in lines if line and not line.startswith("#")}


def missing() -> list[str]:
    """Named packages that cannot be imported."""
    return [name for name in named() if find_spec(_MODULES.get(name, name)) is None]


def provide(folder: Path = FOLDER) -> list[str]:
    """Put the wheels of missing packages on the path, of this process and of those it spawns.

    Returns what is missing still and can be done without. Raises BackendUnavailableError where more is missing.
    """
    wanted = missing()
    wheels = [path for name in wanted for path in _wheels(folder, name)]
    if wheels:
        unpacked = tempfile.mkdtemp(prefix="hecore-wheels-")
        atexit.register(_forget, unpacked, os.getpid())
        for path in wheels:
            with zipfile.ZipFile(path) as archive:
                archive.extractall(unpacked)
        sys.path.append(unpacked)
    left = missing()
    needed = [named()[name] for name in left if name not in OPTIONAL]
    if needed:
        raise BackendUnavailableError(
            f"cannot run: {', '.join(needed)} are missing here and in {folder.name}/. With a registry: "
            f"pip install {' '.join(needed)}. Without one, fetch the wheels elsewhere and carry the folder along: "
            f"pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp {_PLATFORMS} "
            f"-d {folder.name} -r bench/{LIST.name}"
        )
    return left


def _wheels(folder: Path, name: str) -> list[Path]:
    """This package's wheels in a folder, of the version that is named."""
    version = named()[name].partition("==")[2]
    return sorted(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl"))


def _forget(folder: str, process: int) -> None:
    """A forked child leaves the folder to its parent."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
