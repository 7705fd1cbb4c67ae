"""Welch's t, the crops, and that the examination finds a kernel that leaks."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from hecore.bench import dudect
from hecore.errors import ParameterError


def test_welch_t_known_answer() -> None:
    # Computed by hand: means 2 and 4, variances 1 and 4, three values each: -2 / sqrt(1/3 + 4/3).
    a, b = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])
    assert dudect.welch_t(a, b) == pytest.approx(-2 / math.sqrt(5 / 3))


def test_welch_t_of_constant_samples() -> None:
    same, other = np.ones(3), np.zeros(3)
    assert dudect.welch_t(same, same) == 0
    assert dudect.welch_t(same, other) == math.inf


def test_welch_t_refuses_a_single_value() -> None:
    with pytest.raises(ParameterError, match="at least 2"):
        dudect.welch_t(np.ones(1), np.ones(3))


def test_crops_see_through_a_noisy_tail() -> None:
    rng = np.random.default_rng(0)
    is_random = np.arange(4000) % 2 == 0
    times = 100 + rng.normal(0, 1, 4000) + np.where(is_random, 0.5, 0)
    times[rng.permutation(4000)[:100]] += 10_000  # interrupts
    assert abs(dudect.welch_t(times[~is_random], times[is_random])) < dudect.CERTAIN
    assert dudect.largest_t(times, is_random) > dudect.CERTAIN


def test_a_leak_is_found_and_its_absence_is_not() -> None:
    leaky = dudect.Subject(
        "leaky", lambda s: time.sleep(s), [0.0] * len(dudect.VARIANTS), [2e-4] * len(dudect.VARIANTS)
    )
    found = dudect.examine(leaky, 120)
    assert found.t > dudect.CERTAIN
    assert found.failed
    assert found.verdict == "leaks"
    quiet = dudect.Finding("quiet", 1.0, 120)
    assert not quiet.failed


def test_an_undetected_control_fails_the_session() -> None:
    assert dudect.Finding(dudect.CONTROL, 1.0, 100).failed
    assert not dudect.Finding(dudect.CONTROL, 50.0, 100).failed


def test_every_secret_operation_is_examined() -> None:
    findings = dudect.session("reference", 512, 8)
    names = [f.kernel.partition(",")[0] for f in findings]
    assert {"mod_exp", "fixed_base_exp", "mod_mul", "encode", "lift", "decrypt", "decrypt_bounded", "multi_exp"} <= set(
        names
    )
    assert any(name.startswith("control") for name in names)
    assert all(f.samples == 8 for f in findings)


def test_too_few_samples() -> None:
    with pytest.raises(ParameterError, match="at least 4"):
        dudect.session("reference", 128, 3)
