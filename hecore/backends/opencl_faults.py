"""What OpenCL's errors mean to a caller: a typed error that says what to do, and whether the device is still usable."""

from __future__ import annotations

from hecore.errors import BackendError, CompileError, DeviceLostError, DeviceMemoryError

# Numbers of cl.h. A driver may say OUT_OF_RESOURCES of registers, too; a shorter batch asks less of both.
NO_MEMORY = {
    -4: "MEM_OBJECT_ALLOCATION_FAILURE",
    -5: "OUT_OF_RESOURCES",
    -6: "OUT_OF_HOST_MEMORY",
    -61: "INVALID_BUFFER_SIZE",
}
# After these no command runs any more. A command that failed takes all that wait for it with it.
LOST = {
    -2: "DEVICE_NOT_AVAILABLE",
    -14: "EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST",
    -33: "INVALID_DEVICE",
    -34: "INVALID_CONTEXT",
    -36: "INVALID_COMMAND_QUEUE",
    -9999: "NVIDIA's number for a kernel that left its memory",
}
NOT_COMPILED = {
    -3: "COMPILER_NOT_AVAILABLE",
    -11: "BUILD_PROGRAM_FAILURE",
    -15: "COMPILE_PROGRAM_FAILURE",
    -17: "LINK_PROGRAM_FAILURE",
    -43: "INVALID_BUILD_OPTIONS",
}


def translated(error: BaseException, what: str, device: str) -> BackendError:
    """`what` failed on `device` with an error of PyOpenCL's."""
    code = getattr(error, "code", None)
    if code in NO_MEMORY:
        return DeviceMemoryError(
            f"{what} failed on {device}: out of memory ({error}). Use smaller arrays, or end what else uses the device"
        )
    if code in LOST:
        return DeviceLostError(
            f"{what} failed on {device}: the device is gone ({error}). The opencl backend is not usable any more in "
            f"this process; what was on the device is lost. Start a new process"
        )
    if code in NOT_COMPILED:
        return CompileError(f"{what} failed on {device}: {error}")
    return BackendError(f"{what} failed on {device}: {error}")
