"""What CUDA's errors become, which card is chosen, and what is said where there is none: no test here needs a card."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import pytest

from hecore.backends import cuda, cuda_faults, registry
from hecore.errors import BackendError, BackendUnavailableError, DeviceLostError, DeviceMemoryError

NO_CUPY = importlib.util.find_spec("cupy") is None
MEMORY = " (of 100 bytes this backend holds 60, other processes and libraries 30, 10 are free)"


class CudaError(RuntimeError):
    """As CuPy raises them: the number in `status`."""

    def __init__(self, status: int | None, text: str = "cudaErrorSomething: something") -> None:
        super().__init__(text)
        self.status = status


def translated(error: BaseException) -> BackendError:
    return cuda_faults.translated(error, "running kernel multiply", "Card X (CUDA 13.2)", MEMORY)


@pytest.mark.parametrize("error", [CudaError(2), MemoryError("pool"), DeviceMemoryError("pool")])
def test_memory_that_is_short_says_whose_it_is(error: BaseException) -> None:
    found = translated(error)
    assert type(found) is DeviceMemoryError
    for part in ("running kernel multiply", "Card X", "out of memory", MEMORY, "smaller arrays"):
        assert part in str(found)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (4, "shutting down"),
        (201, "context is gone"),
        (214, "ECC"),
        (220, "link between cards"),
        (700, "left its memory"),
        (702, "time limit"),
        (709, "context is gone"),
        (710, "assertion"),
        (715, "illegal instruction"),
        (716, "misaligned"),
        (717, "wrong space"),
        (718, "jumped nowhere"),
        (719, "a kernel failed"),
        (999, "Xid"),
    ],
)
def test_what_no_context_survives_is_a_lost_device(status: int, reason: str) -> None:
    found = translated(CudaError(status))
    assert type(found) is DeviceLostError
    for part in (reason, "cudaErrorSomething", "not usable any more", "Start a new process"):
        assert part in str(found)
    assert MEMORY not in str(found)


@pytest.mark.parametrize("status", [1, 98, 400, 701, None])
def test_any_other_error_leaves_the_backend_usable(status: int | None) -> None:
    found = translated(CudaError(status))
    assert type(found) is BackendError
    assert "cudaErrorSomething" in str(found)


@pytest.mark.parametrize(
    ("status", "driver", "advice"),
    [
        (35, 0, "Install the driver"),
        (100, 0, "Install the driver"),
        (35, 12080, "knows CUDA 12.8, this CuPy was made for 13.2"),
        (35, 12080, "pip install cupy-cuda12x"),
        (999, 12080, "pip install cupy-cuda12x"),
        (100, 13020, "CUDA_VISIBLE_DEVICES"),
        (3, 13020, "'spawn'"),
        (46, 13020, "another process has the card"),
        (802, 13020, "fabricmanager"),
        (803, 13020, "reboot"),
        (804, 13020, "reboot"),
        (1, 13020, "does not start"),
    ],
)
def test_why_no_card_can_be_opened(status: int, driver: int, advice: str) -> None:
    found = cuda_faults.not_available(CudaError(status), driver, 13020)
    assert advice in str(found)
    assert "cudaErrorSomething" in str(found)


def test_versions_are_written_as_people_write_them() -> None:
    assert [cuda_faults.version(number) for number in (13020, 12000, 11080)] == ["13.2", "12.0", "11.8"]


# -- which card -----------------------------------------------------------------------------------------------------


def machine(*cards: tuple[str, int, int], error: CudaError | None = None) -> SimpleNamespace:
    """A CUDA runtime of these cards: name and compute capability."""

    def count() -> int:
        if error is not None:
            raise error
        return len(cards)

    def properties(i: int) -> dict[str, object]:
        return {"name": cards[i][0].encode(), "major": cards[i][1], "minor": cards[i][2]}

    return SimpleNamespace(
        getDeviceCount=count,
        getDeviceProperties=properties,
        driverGetVersion=lambda: 13020,
        runtimeGetVersion=lambda: 13020,
    )


TWO = machine(("NVIDIA A100", 8, 0), ("NVIDIA H100", 9, 0))


@pytest.mark.parametrize(("choice", "number"), [("", 0), ("0", 0), ("1", 1), ("H100", 1), ("NVIDIA", 0)])
def test_a_card_is_chosen_by_number_or_name(choice: str, number: int) -> None:
    found, properties = cuda._choose(TWO, choice)
    assert found == number
    assert properties["name"] == [b"NVIDIA A100", b"NVIDIA H100"][number]


@pytest.mark.parametrize("choice", ["2", "00", "V100", "10"])
def test_a_choice_that_fits_no_card_lists_those_that_are_there(choice: str) -> None:
    with pytest.raises(BackendUnavailableError, match="found 0 NVIDIA A100; 1 NVIDIA H100") as caught:
        cuda._choose(TWO, choice)
    assert repr(choice) in str(caught.value)


def test_a_machine_without_cards_says_so() -> None:
    with pytest.raises(BackendUnavailableError, match="found none"):
        cuda._choose(machine(), "")
    with pytest.raises(BackendUnavailableError, match="CUDA_VISIBLE_DEVICES"):
        cuda._choose(machine(error=CudaError(100)), "")


def test_an_old_card_is_refused_with_what_is_needed() -> None:
    needed = ".".join(map(str, cuda._OLDEST))
    with pytest.raises(BackendUnavailableError, match=f"capability is 6.1, {needed} or later"):
        cuda._choose(machine(("GeForce GTX 1080", 6, 1)), "")
    assert cuda._choose(machine(("some card", *cuda._OLDEST)), "")[0] == 0


# -- what is not there ----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not NO_CUPY, reason="CuPy is installed")
def test_without_cupy_the_error_says_what_to_install() -> None:
    with pytest.raises(BackendUnavailableError, match="found no cupy; install it: pip install 'hecore\\[cuda\\]'"):
        registry.get("cuda")
    info = {found.name: found for found in registry.devices()}["cuda"]
    assert not info.available
    assert "pip install 'hecore[cuda]'" in info.reason
