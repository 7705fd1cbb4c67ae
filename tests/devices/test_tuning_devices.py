"""The tuner on a device: what it measures is right, what it keeps is used, and what goes wrong is said."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from hecore.backends import registry, tuned
from hecore.backends.kernel_backend import KernelBackend
from hecore.backends.kernel_shapes import SPARE_BITS, candidates, geometries
from hecore.cli import main
from hecore.errors import CompileError, ParameterError, SelfTestError
from hecore.tuning import tune_shapes

if TYPE_CHECKING:
    from pathlib import Path

    from hecore.backends.device import DeviceFacts
    from hecore.backends.kernel_shapes import Geometry

BITS = 512


@pytest.fixture
def kernels(device: str) -> KernelBackend:
    """The backend, where it has shapes to choose from."""
    backend = registry.get(device)
    if not isinstance(backend, KernelBackend):
        pytest.skip(f"{device} has no shapes to choose from")
    return backend


def test_the_command(
    kernels: KernelBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["tune", "--device", kernels.name, "--key-bits", str(BITS), "--quiet"]
    capsys.readouterr()
    with monkeypatch.context() as fewer:  # shapes that other tests compile, too
        fewer.setattr("hecore.tuning.shapes.candidates", in_use_and_longer)
        assert main([*command, "--json", "--dry-run"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["complete"]
    assert found["file"] is None
    assert {trial["root_bits"] for trial in found["trials"]} == {BITS, BITS // 2}
    assert [trial["root_bits"] for trial in found["trials"] if trial["chosen"]] == [BITS // 2, BITS]
    assert all(trial["seconds"] > 0 for trial in found["trials"])
    monkeypatch.setenv("HECORE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("hecore.tuning.shapes._Bench.trial", quickest_last(kernels))
    assert main(command) == 0
    assert str(tuned.path(kernels.facts)) in capsys.readouterr().out
    for bits in (BITS, BITS // 2):
        (chosen,) = [shape for shape in tuned.shapes(kernels.facts) if shape == candidates(kernels.facts, bits)[-1]]
        assert chosen.bits >= bits + SPARE_BITS


def in_use_and_longer(facts: DeviceFacts, bits: int) -> list[Geometry]:
    known = geometries(facts)
    first = next(i for i, shape in enumerate(known) if shape.bits >= bits + SPARE_BITS)
    return known[first : first + 2]


def quickest_last(kernels: KernelBackend) -> Any:
    """Trials that take the less time the later a candidate comes, and no time."""
    from hecore.tuning.shapes import Trial

    def trial(bench: Any, shape: Geometry, *, standing: bool) -> Trial:
        return Trial(bench._bits, shape, standing, 2.0 ** -candidates(kernels.facts, bench._bits).index(shape))

    return trial


def test_a_device_without_shapes(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    if isinstance(registry.get(device), KernelBackend):
        pytest.skip(f"{device} has shapes to choose from")
    assert main(["tune", "--device", device]) == 1
    assert f"the {device} backend has no shapes" in capsys.readouterr().err


@pytest.mark.parametrize("key_bits", [[], [500], [448], [8256], [512, 1000]])
def test_lengths_that_no_key_has(kernels: KernelBackend, key_bits: list[int]) -> None:
    with pytest.raises(ParameterError, match="multiples of 64"):
        tune_shapes(kernels, key_bits)


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan"), float("inf")])
def test_budgets(kernels: KernelBackend, budget: float) -> None:
    with pytest.raises(ParameterError, match="positive number of seconds"):
        tune_shapes(kernels, [BITS], budget=budget)


def test_a_budget_that_ends(kernels: KernelBackend) -> None:
    found = tune_shapes(kernels, [BITS], budget=1e-9)
    assert (found.trials, found.chosen, found.complete) == ((), {}, False)


@pytest.mark.parametrize("place", [0, 1])
def test_a_wrong_result_ends_it(kernels: KernelBackend, monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    """Of the shape in use integers find it, the first residues; of another the comparison, the last ones too."""
    wrong = candidates(kernels.facts, BITS // 2)[place]
    download = KernelBackend.download

    def altered(backend: KernelBackend, a: Any) -> Any:
        limbs = download(backend, a)
        if backend._shapes[0] == wrong:
            limbs[-place, 0] ^= 1
        return limbs

    monkeypatch.setattr(KernelBackend, "download", altered)
    with pytest.raises(SelfTestError, match=f"{BITS // 2} bits with"):
        tune_shapes(kernels, [BITS])


def test_a_shape_that_does_not_compile_is_left_out(kernels: KernelBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of an untuned device must."""
    upload = KernelBackend.upload

    def refusing(backend: KernelBackend, *arguments: Any) -> Any:
        if backend._shapes[0] in refused:
            raise CompileError("too many registers\nand more")
        return upload(backend, *arguments)

    monkeypatch.setattr(KernelBackend, "upload", refusing)
    standing = [candidates(kernels.facts, bits)[0] for bits in (BITS // 2, BITS)]
    refused = {shape for bits in (BITS // 2, BITS) for shape in candidates(kernels.facts, bits)} - set(standing)
    found = tune_shapes(kernels, [BITS])
    assert list(found.chosen.values()) == standing
    assert {trial.refusal for trial in found.trials} == {"", "too many registers"}
    refused = {standing[0]}
    with pytest.raises(CompileError):
        tune_shapes(kernels, [BITS])
