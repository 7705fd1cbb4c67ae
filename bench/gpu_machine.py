"""The card under the backend: what its driver says of it, its clocks, and the energy that it has used."""

from __future__ import annotations

import csv
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

from hecore.bench import machine

DEVICE_PACKAGES = ("cupy-cuda13x", "pyopencl", "pocl-binary-distribution", "nvidia-ml-py", "nvidia-cuda-nvrtc")
_QUERY = {
    "driver": "driver_version",
    "sm_mhz": "clocks.sm",
    "memory_mhz": "clocks.mem",
    "max_sm_mhz": "clocks.max.sm",
    "max_memory_mhz": "clocks.max.mem",
    "power_limit_w": "power.limit",
    "power_w": "power.draw",
    "temperature_c": "temperature.gpu",
    "memory_total": "memory.total",
    "memory_used": "memory.used",
    "name": "name",
}
_SECONDS = 10  # that nvidia-smi may take


def describe(device: str) -> dict[str, Any]:
    """The machine, its packages and the device in words."""
    found = machine.describe()
    versions = {name: version for name in DEVICE_PACKAGES if (version := machine.installed_version(name))}
    return {**found, "versions": {**found["versions"], **versions}, "device": device}


@dataclass(frozen=True)
class Card:
    """The NVIDIA card at the bus address `address` (any way of writing it), or the one at hand; nothing elsewhere.

    Read by NVML where `pynvml` is installed, else by nvidia-smi; only read, never set.
    """

    address: str = ""
    multiprocessors: int = 0

    def clock(self) -> float | None:
        """Of the multiprocessors now, in Hz."""
        found = self.state().get("sm_mhz")
        return 1e6 * found if isinstance(found, int | float) else None

    def state(self) -> dict[str, Any]:
        """Driver, clocks, power, temperature and memory now; empty where nobody tells."""
        if self._handle is not None:
            return self._nvml_state()
        return _smi_state(self.address)

    def joules(self) -> float | None:
        """Energy since the driver was loaded; None where the card does not count it."""
        if self._handle is None:
            return None
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1000
        except self._nvml.NVMLError:
            return None

    @cached_property
    def _nvml(self) -> Any:
        try:
            library = import_module("pynvml")
        except ImportError:
            return None
        try:
            library.nvmlInit()
        except library.NVMLError:
            return None
        return library

    @cached_property
    def _handle(self) -> Any:
        library = self._nvml
        if library is None:
            return None
        try:
            if self.address:
                return library.nvmlDeviceGetHandleByPciBusId(self.address.encode())
            return library.nvmlDeviceGetHandleByIndex(0)
        except library.NVMLError:
            return None

    def _nvml_state(self) -> dict[str, Any]:
        library, handle = self._nvml, self._handle
        readings: Mapping[str, Any] = {
            "name": lambda: _text(library.nvmlDeviceGetName(handle)),
            "driver": lambda: _text(library.nvmlSystemGetDriverVersion()),
            "sm_mhz": lambda: library.nvmlDeviceGetClockInfo(handle, library.NVML_CLOCK_SM),
            "memory_mhz": lambda: library.nvmlDeviceGetClockInfo(handle, library.NVML_CLOCK_MEM),
            "max_sm_mhz": lambda: library.nvmlDeviceGetMaxClockInfo(handle, library.NVML_CLOCK_SM),
            "max_memory_mhz": lambda: library.nvmlDeviceGetMaxClockInfo(handle, library.NVML_CLOCK_MEM),
            "power_limit_w": lambda: library.nvmlDeviceGetPowerManagementLimit(handle) / 1000,
            "power_w": lambda: library.nvmlDeviceGetPowerUsage(handle) / 1000,
            "temperature_c": lambda: library.nvmlDeviceGetTemperature(handle, library.NVML_TEMPERATURE_GPU),
            "throttled": lambda: hex(library.nvmlDeviceGetCurrentClocksThrottleReasons(handle)),
            "memory_total": lambda: f"{library.nvmlDeviceGetMemoryInfo(handle).total >> 20} MiB",
            "memory_used": lambda: f"{library.nvmlDeviceGetMemoryInfo(handle).used >> 20} MiB",
        }
        found = {"read_by": "NVML"}
        for name, read in readings.items():
            try:
                found[name] = read()
            except library.NVMLError:  # not every card tells everything
                continue
        return found


def card_of(device: object) -> Card | None:
    """The card of a CUDA device; None for any other device, whose card, if it has one, nobody names."""
    cuda = getattr(device, "_cuda", None)
    facts = getattr(device, "facts", None)
    if cuda is None or getattr(facts, "dialect", "") != "cuda":
        return None
    index = getattr(device, "_index", 0)
    try:
        count = int(cuda.runtime.getDeviceProperties(index)["multiProcessorCount"])
        return Card(str(cuda.Device(index).pci_bus_id), count)
    except (RuntimeError, AttributeError, KeyError):
        return Card()


def _smi_state(address: str) -> dict[str, Any]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    command = [program, f"--query-gpu={','.join(_QUERY.values())}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            [*command, *(["-i", address] if address else [])],
            capture_output=True, text=True, timeout=_SECONDS, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return {}
    rows = list(csv.reader(done.stdout.splitlines(), skipinitialspace=True))
    if not rows or len(rows[0]) != len(_QUERY):
        return {}
    return {"read_by": "nvidia-smi", **dict(zip(_QUERY, map(_number, rows[0]), strict=True))}


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
