"""The machine a run was measured on, in words that a reader of the numbers needs; and one thread each."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

# Read by the thread pools of the peers (sf-heu's yacl, OpenMP), of NumPy's BLAS and of hecore when they start.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "YACL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "HECORE_THREADS")
PACKAGES = ("numpy", "numba", "llvmlite", "gmpy2", "zstandard", "phe", "sf-heu", "tenseal", "pytest-benchmark")
FLAGS = ("avx2", "bmi2", "adx", "avx512f", "avx512ifma", "avx512vl", "avx512vbmi", "neon", "asimd", "sve")


def single_thread() -> None:
    """One thread for every library that asks the environment. Call before a peer is imported."""
    for name in THREAD_VARIABLES:
        os.environ[name] = "1"


def describe() -> dict[str, Any]:
    """Model, features, cores, versions, commit, environment, load and date. No host name, no paths."""
    cpu = _cpu_info()
    flags = cpu.get("flags", cpu.get("Features", "")).split()
    return {
        "cpu": cpu.get("model name") or platform.processor() or platform.machine(),
        "cpu_family_model_stepping": [cpu.get(key) for key in ("cpu family", "model", "stepping")],
        "mhz_at_start": cpu.get("cpu MHz"),
        "flags": [flag for flag in FLAGS if flag in flags],
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "load_at_start": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := installed_version(name))},
        "commit": _commit(),
        "hecore_cpu": os.environ.get("HECORE_CPU", "auto"),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def installed_version(package: str) -> str | None:
    """The version of a distribution, or None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_info() -> Mapping[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    first = path.read_text(encoding="utf-8").split("\n\n", 1)[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _commit() -> str | None:
    """The checkout's commit, marked where the tree has changes; None outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
