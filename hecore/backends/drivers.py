"""Whether a device's driver is on this machine, without loading a package or starting the driver.

For the list of devices alone: opening a device is what shows that it works, and says why where it does not.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from pathlib import Path

_VENDORS = "OCL_ICD_VENDORS"  # the loader's own variable: a folder of .icd files, or one such file


def opencl() -> str:
    """Why OpenCL finds no driver; empty where one is registered, or where that cannot be seen from outside."""
    if not sys.platform.startswith("linux"):
        return ""
    wanted = os.environ.get(_VENDORS, "")
    folders = [Path(wanted)] if wanted else [Path("/etc/OpenCL/vendors"), Path(sys.prefix) / "etc/OpenCL/vendors"]
    package = importlib.util.find_spec("pyopencl")
    if package is not None and (not wanted or Path(wanted).is_dir()):  # its wheel's loader also looks beside itself
        folders += [Path(place) / ".libs" for place in package.submodule_search_locations or ()]
    if any(folder.suffix == ".icd" or any(folder.glob("*.icd")) for folder in folders):
        return ""
    return (
        f"found no driver in {', '.join(map(str, folders))}: install your card's, or for the processor "
        f"pip install pocl-binary-distribution"
    )


def cuda() -> str:
    """Why CUDA finds no driver; empty where its library loads."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        ctypes.CDLL(name)
    except OSError:
        return f"found no NVIDIA driver ({name}): install the driver of the card, 580 or later for CUDA 13"
    return ""
