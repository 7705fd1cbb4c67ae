"""What CUDA's errors mean to a caller: a typed error that says what to do, and whether the device is still usable.

CuPy raises with `status`, the number of the CUDA runtime's or driver's error; the two agree in all that are named here.
"""

from __future__ import annotations

from hecore.errors import BackendError, BackendUnavailableError, DeviceLostError, DeviceMemoryError

OUT_OF_MEMORY = 2
_NOT_INITIALISED = 3
_DRIVER_TOO_OLD = 35
_BUSY = 46
_NO_DEVICE = 100
_NOT_FOR_THIS_DRIVER = (803, 804)
_NOT_READY = 802

# After these the context is gone: every later call of this process fails in the same way.
_LOST = {
    4: "the CUDA runtime is shutting down",
    201: "the CUDA context is gone",
    214: "the card's memory had an error that could not be corrected (nvidia-smi -q -d ECC)",
    220: "the link between cards had an error that could not be corrected",
    700: "a kernel left its memory",
    702: "a kernel ran into the display driver's time limit",
    709: "the CUDA context is gone",
    710: "a kernel stopped at an assertion",
    714: "the hardware's call stack broke",
    715: "a kernel met an illegal instruction",
    716: "a kernel used a misaligned address",
    717: "a kernel used an address of the wrong space",
    718: "a kernel jumped nowhere",
    719: "a kernel failed",
    721: "a kernel failed",
    999: "the driver does not say why (dmesg may: NVRM, Xid)",
}


def translated(error: BaseException, what: str, device: str, memory: str) -> BackendError:
    """`what` failed on `device`; `memory` says how full the card is, for errors of memory alone."""
    status = getattr(error, "status", None)
    if isinstance(error, MemoryError) or status == OUT_OF_MEMORY:
        return DeviceMemoryError(
            f"{what} failed on {device}: out of memory{memory}. Use smaller arrays, or end what else uses the card"
        )
    if status in _LOST:
        return DeviceLostError(
            f"{what} failed on {device}: {_LOST[status]} ({error}). The cuda backend is not usable any more in this "
            f"process; what was on the card is lost. Start a new process"
        )
    return BackendError(f"{what} failed on {device}: {error}")


def not_available(error: BaseException, driver: int, runtime: int) -> BackendUnavailableError:
    """Why no card can be opened. Versions are CUDA's: 13020 is 13.2; a driver of 0 is none at all."""
    status = getattr(error, "status", None)
    needed = f"CUDA {runtime // 1000}"
    if driver == 0:
        reason = f"found no NVIDIA driver. Install the driver of the card, one for {needed} or later"
    elif status == _DRIVER_TOO_OLD or driver // 1000 < runtime // 1000:
        reason = (
            f"the driver knows CUDA {version(driver)}, this CuPy was made for {version(runtime)}. Install a newer "
            f"driver, or the CuPy for the driver: pip install cupy-cuda{driver // 1000}x"
        )
    elif status == _NO_DEVICE:
        reason = "the driver found no card. Look at nvidia-smi and at CUDA_VISIBLE_DEVICES"
    elif status == _NOT_INITIALISED:
        reason = (
            "CUDA does not start here. In a process forked after its parent used CUDA it never does: start workers "
            "with the 'spawn' method, or first use the card in the child"
        )
    elif status == _BUSY:
        reason = "another process has the card for itself (nvidia-smi shows its compute mode and processes)"
    elif status == _NOT_READY:
        reason = "the machine's card fabric is not up yet (is nvidia-fabricmanager running?)"
    elif status in _NOT_FOR_THIS_DRIVER:
        reason = "the driver's library and its kernel module are of different versions; reboot, or reinstall the driver"
    else:
        reason = "it does not start"
    return BackendUnavailableError(f"cannot use CUDA: {reason} ({error})")


def version(number: int) -> str:
    """`13020` as people write it: 13.2."""
    return f"{number // 1000}.{number % 1000 // 10}"
