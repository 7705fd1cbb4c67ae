"""Which backend is chosen, and what is refused. Third-party packages here are real ones, written to a folder."""

from __future__ import annotations

import contextvars
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from hecore.backends import registry
from hecore.backends.protocol import IntegerBackend, ResidueArray
from hecore.backends.reference import ReferenceBackend
from hecore.backends.ring_protocol import RingBackend
from hecore.errors import BackendError, BackendUnavailableError, SelfTestError

Install = Callable[..., None]
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def unchosen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No choice made, no environment, nothing remembered of third parties."""
    monkeypatch.delenv(registry.ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setattr(registry, "_started", dict(registry._started))
    monkeypatch.setattr(registry, "_refused", {})
    token = registry._current.set(None)
    yield
    registry._current.reset(token)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Writes a distribution with one module and its entry points into a folder on sys.path."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(distribution: str, module: str, source: str, entry_points: dict[str, str]) -> None:
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(source))
        info = tmp_path / f"{distribution}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        lines = "".join(f"{name} = {target}\n" for name, target in entry_points.items())
        (info / "entry_points.txt").write_text(f"[{registry.ENTRY_POINT_GROUP}]\n{lines}")
        monkeypatch.delitem(sys.modules, module, raising=False)

    return write


TOY = """
    from hecore.backends.reference import ReferenceBackend

    created = []

    class ToyBackend(ReferenceBackend):
        name = "toy"
        simulated = True

        def __init__(self):
            created.append(self)
"""


def test_every_available_backend_passes_its_self_test(backend: IntegerBackend) -> None:
    started = registry.get(backend.name)
    assert started.name == backend.name
    assert registry.get(backend.name) is started
    info = {device.name: device for device in registry.devices()}[backend.name]
    assert info == registry.DeviceInfo(started.name, started.device, started.simulated, available=True, reason="")


def test_devices_lists_the_built_in_ones_first() -> None:
    found = registry.devices()
    assert [device.name for device in found][:2] == ["cpu", "reference"]
    for device in found:
        assert device.device
        assert device.available == (device.reason == "")


def test_drivers_name_their_devices_where_they_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    module, named = ModuleType("hecore_toy_asked"), ["card 0", "card 1"]
    module.Toy = SimpleNamespace(found=lambda: named)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    entry = registry._Entry("toy", "hecore_toy_asked:Toy", "a toy", False, (), "", driver=lambda: "")
    monkeypatch.setattr(registry, "_BUILT_IN", (entry,))
    plain, asked = ({d.name: d for d in registry.devices(ask=ask)}["toy"] for ask in (False, True))
    assert (plain.device, plain.available) == ("a toy", True)
    assert (asked.device, asked.available) == ("card 0; or card 1", True)

    def refuse() -> list[str]:
        raise BackendUnavailableError("no card in the slot")

    module.Toy.found = refuse
    asked = {d.name: d for d in registry.devices(ask=True)}["toy"]
    assert (asked.device, asked.available, asked.reason) == ("a toy", False, "no card in the slot")


def test_use_takes_effect_at_once_and_stays() -> None:
    registry.use("reference")
    assert registry.current().name == "reference"
    assert registry.current() is registry.get("reference")


def test_use_restores_the_previous_choice(install: Install) -> None:
    install("toy", "hecore_toy_nested", TOY, {"toy": "hecore_toy_nested:ToyBackend"})
    registry.use("reference")
    with registry.use("toy") as outer:
        assert registry.current() is outer
        assert outer.name == "toy"
        with registry.use("reference") as inner:
            assert registry.current() is inner
            registry.use("toy")  # a call inside lasts until the block ends
            assert registry.current() is outer
        assert registry.current() is outer
    assert registry.current().name == "reference"


def test_use_restores_after_an_exception(install: Install) -> None:
    install("toy", "hecore_toy_raising", TOY, {"toy": "hecore_toy_raising:ToyBackend"})
    registry.use("reference")

    def fail() -> None:
        with registry.use("toy"):
            raise RuntimeError("from inside")

    with pytest.raises(RuntimeError, match="from inside"):
        fail()
    assert registry.current().name == "reference"


def test_a_refused_choice_changes_nothing() -> None:
    registry.use("reference")
    with pytest.raises(BackendUnavailableError):
        registry.use("no such device")
    assert registry.current().name == "reference"


def test_a_choice_belongs_to_its_context(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("toy", "hecore_toy_threads", TOY, {"toy": "hecore_toy_threads:ToyBackend"})
    monkeypatch.setenv(registry.ENVIRONMENT_VARIABLE, "reference")
    seen: list[str] = []

    def other_thread() -> None:
        seen.append(registry.current().name)
        registry.use("toy")
        seen.append(registry.current().name)

    thread = threading.Thread(target=other_thread)
    thread.start()
    thread.join()
    assert seen == ["reference", "toy"]
    assert registry.current().name == "reference"
    contextvars.copy_context().run(registry.use, "toy")
    assert registry.current().name == "reference"


def test_the_environment_chooses_where_nobody_else_did(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("toy", "hecore_toy_environment", TOY, {"toy": "hecore_toy_environment:ToyBackend"})
    monkeypatch.setenv(registry.ENVIRONMENT_VARIABLE, "toy")
    assert registry.current().name == "toy"
    with registry.use("reference"):
        assert registry.current().name == "reference"
    assert registry.current().name == "toy"


def test_an_unknown_name_says_what_was_sought_and_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendUnavailableError) as caught:
        registry.get("abacus")
    for part in ("'abacus'", "looked for", registry.ENTRY_POINT_GROUP, "found cpu, reference", "install"):
        assert part in str(caught.value)
    monkeypatch.setenv(registry.ENVIRONMENT_VARIABLE, "abacus")
    with pytest.raises(BackendUnavailableError, match=r"asked for by HECORE_DEVICE=abacus"):
        registry.current()


def test_backends_are_created_once_even_by_many_threads(install: Install) -> None:
    source = TOY.replace("created.append(self)", "import time; time.sleep(0.05); created.append(self)")
    install("toy", "hecore_toy_once", source, {"toy": "hecore_toy_once:ToyBackend"})
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(registry.get, ["toy"] * 8))
    assert len({id(backend) for backend in found}) == 1
    assert len(sys.modules["hecore_toy_once"].created) == 1


def test_devices_imports_no_third_party(install: Install) -> None:
    install("toy", "hecore_toy_lazy", TOY, {"toy": "hecore_toy_lazy:ToyBackend"})
    info = {device.name: device for device in registry.devices()}["toy"]
    assert "hecore_toy_lazy" not in sys.modules
    assert info == registry.DeviceInfo("toy", "package toy", simulated=None, available=True, reason="")
    registry.get("toy")
    info = {device.name: device for device in registry.devices()}["toy"]
    assert info.simulated is True


def test_a_name_registered_twice_is_refused(install: Install) -> None:
    install("toy", "hecore_toy_first", TOY, {"toy": "hecore_toy_first:ToyBackend"})
    install("rival", "hecore_toy_second", TOY, {"toy": "hecore_toy_second:ToyBackend"})
    with pytest.raises(BackendError) as caught:
        registry.get("toy")
    assert "hecore_toy_first:ToyBackend" in str(caught.value)
    assert "hecore_toy_second:ToyBackend" in str(caught.value)
    info = {device.name: device for device in registry.devices()}["toy"]
    assert not info.available
    assert info.reason == str(caught.value)


def test_nobody_takes_the_name_of_a_built_in_backend(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_started", {})
    install("impostor", "hecore_impostor", TOY, {"reference": "hecore_impostor:ToyBackend"})
    with pytest.raises(BackendError, match="registered more than once"):
        registry.get("reference")
    assert "hecore_impostor" not in sys.modules


def test_a_package_that_cannot_be_imported_is_unavailable(install: Install) -> None:
    install("toy", "hecore_toy_needy", "import no_such_driver", {"toy": "hecore_toy_needy:ToyBackend"})
    with pytest.raises(BackendUnavailableError) as caught:
        registry.get("toy")
    assert "no_such_driver" in str(caught.value)
    assert isinstance(caught.value.__cause__, ImportError)


@pytest.mark.parametrize("target", ["NoBackend", "Misnamed", "Absent"])
def test_what_is_no_backend_of_that_name_is_refused(install: Install, target: str) -> None:
    source = """
        from hecore.backends.reference import ReferenceBackend

        class NoBackend:
            name = "toy"

        class Misnamed(ReferenceBackend):
            name = "other"
    """
    install("toy", f"hecore_toy_{target.lower()}", source, {"toy": f"hecore_toy_{target.lower()}:{target}"})
    with pytest.raises(BackendError, match="is no backend of that name"):
        registry.get("toy")


def test_a_backend_without_the_ring_half_is_refused(install: Install) -> None:
    source = """
        from hecore.backends.protocol import IntegerBackend
        from hecore.backends.reference import ReferenceBackend

        names = [name for name in vars(IntegerBackend) if not name.startswith("_")]
        IntegersAlone = type("IntegersAlone", (), {name: vars(ReferenceBackend)[name] for name in names})
        IntegersAlone.name = "toy"
    """
    install("toy", "hecore_toy_integers", source, {"toy": "hecore_toy_integers:IntegersAlone"})
    with pytest.raises(BackendError, match="integers alone; a backend also implements"):
        registry.get("toy")


BROKEN = """
    import dataclasses

    import numpy as np

    from hecore.backends.protocol import ExponentArray, ResidueArray
    from hecore.backends.reference import ReferenceBackend
    from hecore.backends.ring_protocol import PolynomialArray, SmallArray

    def spoil(result):
        if isinstance(result, ResidueArray):
            data = list(result.data)
            data[-1] = (data[-1] + 1) % result.modulus.value
            return dataclasses.replace(result, data=data)
        if isinstance(result, ExponentArray):
            return ExponentArray(np.zeros_like(result.limbs), result.bits)
        if isinstance(result, SmallArray):
            return dataclasses.replace(result, data=result.data * 22)
        if isinstance(result, PolynomialArray):
            data = result.data.copy()
            data.reshape(-1)[-1] = (data.reshape(-1)[-1] + 1) % result.basis.moduli[-1]
            return dataclasses.replace(result, data=data)
        if isinstance(result, tuple):
            return tuple(spoil(part) for part in result)
        result = result.copy()
        result.ravel()[-1] ^= 1
        return result

    def wrong(self, *args, **options):
        return spoil(getattr(ReferenceBackend, OPERATION)(self, *args, **options))

    class ToyBackend(ReferenceBackend):
        name = "toy"

    setattr(ToyBackend, OPERATION, wrong)
"""
OPERATIONS = [
    "upload",
    "download",
    "take",
    "concatenate",
    "collect",
    "reshape",
    "random_exponents",
    "mod_mul",
    "mod_exp",
    "mod_exp_vartime",
    "fixed_base_exp",
    "multi_exp",
    "product",
    "segment_product",
    "batch_invert",
    "gcd_is_one",
    "reduce",
    "lift",
    "encode",
    "decode",
    "decrypt",
    "decrypt_bounded",
]
RING_OPERATIONS = sorted(name for name in vars(RingBackend) if not name.startswith("_") and name != "name")


@pytest.mark.parametrize("operation", OPERATIONS + RING_OPERATIONS)
def test_a_backend_with_one_wrong_operation_refuses_to_work(install: Install, operation: str) -> None:
    module = f"hecore_toy_wrong_{operation}"
    source = BROKEN.replace("OPERATION", repr(operation))
    install("toy", module, source, {"toy": f"{module}:ToyBackend"})
    with pytest.raises(SelfTestError, match="'toy' refuses to work"):
        registry.get("toy")
    with pytest.raises(SelfTestError, match="'toy' refuses to work"):  # and is not tried again
        registry.use("toy")
    info = {device.name: device for device in registry.devices()}["toy"]
    assert not info.available
    assert "refuses to work" in info.reason


def test_the_list_of_operations_is_the_whole_protocol() -> None:
    public = {name for name in vars(IntegerBackend) if not name.startswith("_")}
    assert public - set(OPERATIONS) == {"name", "device", "simulated", "synchronize", "fixed_base_table"}


def test_a_backend_that_raises_in_its_self_test_refuses_to_work(install: Install) -> None:
    source = """
        from hecore.backends.reference import ReferenceBackend

        class ToyBackend(ReferenceBackend):
            name = "toy"

            def product(self, a):
                raise ZeroDivisionError
    """
    install("toy", "hecore_toy_raises", source, {"toy": "hecore_toy_raises:ToyBackend"})
    with pytest.raises(SelfTestError, match="product modulo <Modulus 2 bits> raised ZeroDivisionError"):
        registry.get("toy")


def test_the_reference_is_its_own_yardstick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_started", {})
    assert type(registry.get("reference")) is ReferenceBackend


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_while_a_backend_starts_can_start_its_own() -> None:
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with registry._lock:
            held.set()
            release.wait(30)

    registry._started.pop("reference", None)
    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        code = 1
        try:
            registry.get("reference")
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    release.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0


def run_python(code: str, **environment: str) -> str:
    """Standard output of a fresh interpreter."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HECORE_")}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=ROOT, env=kept | environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_devices_loads_no_compiler() -> None:
    assert run_python("""
        import sys
        import hecore
        names = [device.name for device in hecore.devices()]
        assert names[:2] == ["cpu", "reference"], names
        hecore.use("reference")
        assert "numba" not in sys.modules and "llvmlite" not in sys.modules
        print("light")
    """).split() == ["light"]


def test_auto_is_the_cpu_and_says_what_it_lacks() -> None:
    """Where Numba is missing, auto is an error and never the reference."""
    assert run_python("""
        import sys
        sys.modules["numba"] = None  # as if it were not installed
        from hecore.backends import registry
        from hecore.errors import BackendUnavailableError
        for call in (registry.current, lambda: registry.get("auto"), lambda: registry.use("cpu")):
            try:
                call()
            except BackendUnavailableError as error:
                for part in ("'cpu'", "found no numba", "pip install numba", "hecore.use('reference')"):
                    assert part in str(error), error
            else:
                raise AssertionError("something answered")
        cpu = registry.devices()[0]
        assert not cpu.available and "pip install numba" in cpu.reason, cpu
        assert registry.get("reference").name == "reference"
        print("refused")
    """).split() == ["refused"]


def test_auto_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    if not registry.devices()[0].available:
        pytest.skip("the cpu backend needs Numba")
    assert registry.current() is registry.get("cpu")
    assert registry.get("auto") is registry.get("cpu")
    monkeypatch.setenv(registry.ENVIRONMENT_VARIABLE, "")
    assert registry.current() is registry.get("cpu")


def test_a_lane_that_ran_nothing_on_its_device_fails() -> None:
    """The same one test passes without a wish, and fails the run where the wish went unmet."""
    test = f"{__file__}::test_devices_lists_the_built_in_ones_first"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HECORE_")}
    plain = subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True, timeout=120)
    assert plain.returncode == 0, plain.stdout
    wish = kept | {"HECORE_TEST_DEVICE": "reference"}
    asked = subprocess.run(command, cwd=ROOT, env=wish, capture_output=True, text=True, timeout=120)
    assert asked.returncode == 1, asked.stdout
    assert "HECORE_TEST_DEVICE=reference, but no test passed on it in tests/backends" in asked.stdout


def test_a_backend_made_by_hand_can_be_used() -> None:
    mine = ReferenceBackend()
    with registry.use(mine):
        assert registry.current() is mine
    assert mine is not registry.get("reference")


def test_a_wrong_backend_made_by_hand_is_refused() -> None:
    class Wrong(ReferenceBackend):
        def mod_mul(self, a: ResidueArray, b: ResidueArray) -> ResidueArray:
            return a

    with pytest.raises(SelfTestError):
        registry.use(Wrong())
    assert registry._current.get() is None
