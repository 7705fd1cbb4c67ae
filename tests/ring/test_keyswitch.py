"""Key switching against the definition, in exact integers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hecore.arith.limbs import ints_from_limbs
from hecore.arith.rns import RnsBasis, ntt_primes
from hecore.backends import registry
from hecore.backends.ring_protocol import ERROR_BOUND, PolynomialArray, RingBackend
from hecore.errors import ParameterError, ShapeError
from hecore.ring.keyswitch import SwitchingKey, accumulate, make_switching_key, mod_down, switch
from hecore.ring.prng import Seed, expand_uniform

DEGREE = 64
BITS = (50, 40, 40, 40, 45, 50)
SHAPES = {
    "one prime a digit": (1, [(i, i + 1) for i in range(5)]),
    "two primes a digit": (2, [(0, 2), (2, 4)]),
    "an uneven last digit": (3, [(0, 2), (2, 3)]),
}


class Setting:
    """A secret s, a target t and the key from t to s."""

    def __init__(self, name: str, device: str) -> None:
        self.special_count, self.digits = SHAPES[name]
        self.backend: RingBackend = registry.get(device)
        self.basis = RnsBasis(DEGREE, ntt_primes(DEGREE, BITS))
        self.secret, self.target = (self.drawn() for _ in range(2))
        self.seed = Seed.fresh()
        self.key = make_switching_key(
            self.backend,
            self.basis,
            self.special_count,
            self.digits,
            self.secret,
            self.target,
            self.seed,
        )

    @property
    def data(self) -> RnsBasis:
        return self.basis.prefix(len(BITS) - self.special_count)

    @property
    def special(self) -> RnsBasis:
        return self.basis.take(range(len(self.data), len(BITS)))

    def drawn(self) -> PolynomialArray:
        """A secret."""
        return self.backend.ring_encode(self.backend.random_ternary((), DEGREE), self.basis, ntt=True)

    def random(self, count: int, basis: RnsBasis) -> PolynomialArray:
        return self.backend.ring_upload(expand_uniform(Seed.fresh(), basis, count), basis, ntt=True)

    def over(self, a: PolynomialArray, basis: RnsBasis) -> PolynomialArray:
        return self.backend.ring_moduli(a, [self.basis.moduli.index(q) for q in basis.moduli])

    def largest(self, a: PolynomialArray) -> int:
        """The largest magnitude of a centred coefficient."""
        magnitudes, _ = self.backend.ring_decode(a)
        return max(ints_from_limbs(magnitudes))

    def error(self, switched: PolynomialArray, a: PolynomialArray) -> int:
        """Of c_0 + c_1*s against a*t."""
        basis, backend = a.basis, self.backend
        wanted = backend.residue_mul(a, self.over(self.target, basis))
        indices = np.arange(switched.size).reshape(-1, 2)
        c0, c1 = (backend.ring_take(switched, indices[:, i].copy()) for i in range(2))
        secret = self.over(self.secret, basis)
        return self.largest(backend.residue_sub(backend.residue_add(c0, backend.residue_mul(c1, secret)), wanted))


@pytest.fixture(scope="module", params=SHAPES)
def setting(request: pytest.FixtureRequest) -> Setting:
    return Setting(request.param, "reference")


@pytest.fixture(scope="module")
def on_cpu() -> Setting:
    return Setting("two primes a digit", "cpu")


def bound(setting: Setting, level: int) -> int:
    """Of the error of a switch: sum of digit * error over P, and the rounding times (1, s)."""
    covered = [(start, min(stop, level + 1)) for start, stop in setting.digits if start <= level]
    digits = sum((stop - start) * math.prod(setting.basis.moduli[start:stop]) for start, stop in covered)
    return digits * ERROR_BOUND * DEGREE // setting.special.product + 1 + DEGREE


def test_each_digit_encrypts_the_gadget_times_the_target(setting: Setting) -> None:
    backend, basis, product = setting.backend, setting.basis, setting.special.product
    for j, (start, stop) in enumerate(setting.digits):
        b, a = (backend.ring_take(setting.key.polynomials, np.array(2 * j + i)) for i in range(2))
        factors = [product % q if start <= i < stop else 0 for i, q in enumerate(basis.moduli)]
        gadget = backend.residue_scale(setting.target, factors)
        left = backend.residue_sub(backend.residue_add(b, backend.residue_mul(a, setting.secret)), gadget)
        assert 0 < setting.largest(left) <= ERROR_BOUND


def test_the_public_halves_come_from_the_seed(setting: Setting) -> None:
    words = setting.backend.ring_download(setting.key.polynomials)
    np.testing.assert_array_equal(words[:, 1], expand_uniform(setting.seed, setting.basis, len(setting.digits)))


@pytest.mark.parametrize("dropped", [0, 1, 2])
def test_switching_keeps_the_product_with_the_target(setting: Setting, dropped: int) -> None:
    level = len(setting.data) - 1 - dropped
    basis = setting.data.prefix(level + 1)
    a = setting.random(3, basis)
    digits = [(start, min(stop, level + 1)) for start, stop in setting.digits if start <= level]
    switched = switch(a, setting.key, digits, setting.special)
    assert switched.shape == (3, 2)
    assert switched.basis == basis
    assert 0 < setting.error(switched, a) <= bound(setting, level)


def test_adding_and_rescaling_on_the_way(setting: Setting) -> None:
    """The same but for one rounding."""
    backend, special = setting.backend, setting.special
    a, plus = setting.random(2, setting.data), backend.ring_reshape(setting.random(4, setting.data), (2, 2))
    switched = switch(a, setting.key, setting.digits, special)
    added = switch(a, setting.key, setting.digits, special, plus=plus)
    assert setting.largest(backend.residue_sub(added, backend.residue_add(switched, plus))) == 0
    together = switch(a, setting.key, setting.digits, special, rescale=True, plus=plus)
    assert setting.largest(backend.residue_sub(together, backend.divide_round(added, 1))) <= 1


def test_under_an_automorphism_the_key_is_turned_instead_of_the_digits(setting: Setting) -> None:
    backend, element = setting.backend, 9
    secret = setting.drawn()
    key = make_switching_key(
        backend,
        setting.basis,
        setting.special_count,
        setting.digits,
        secret,
        backend.automorphism(secret, element),
        Seed.fresh(),
    )
    a = setting.random(1, setting.data)
    raised = accumulate(a, [(key, 1), (key, element)], setting.digits, setting.special)
    assert raised.shape == (1, 2, 2)
    one = backend.ring_take(raised, np.array([[2, 3]]))
    turned = backend.automorphism(mod_down(one, setting.special), element)
    image = backend.automorphism(backend.residue_mul(a, setting.over(secret, setting.data)), element)
    c0, c1 = (backend.ring_take(turned, np.array([i])) for i in range(2))
    got = backend.residue_add(c0, backend.residue_mul(c1, setting.over(secret, setting.data)))
    assert setting.largest(backend.residue_sub(got, image)) <= bound(setting, len(setting.data) - 1)


def test_a_key_follows_the_ciphertext_to_another_backend(on_cpu: Setting) -> None:
    reference = registry.get("reference")
    a = on_cpu.random(2, on_cpu.data)
    moved = reference.ring_upload(on_cpu.backend.ring_download(a), a.basis, ntt=True)
    here = switch(a, on_cpu.key, on_cpu.digits, on_cpu.special)
    there = switch(moved, on_cpu.key, on_cpu.digits, on_cpu.special)
    np.testing.assert_array_equal(on_cpu.backend.ring_download(here), reference.ring_download(there))


def test_operands_are_made_once(setting: Setting) -> None:
    basis = setting.basis
    first = setting.key.operand(setting.backend, basis, 1)
    assert setting.key.operand(setting.backend, basis, 1) is first
    assert setting.key.operand(setting.backend, basis, 1, 3) is not first


def test_refusals(setting: Setting) -> None:
    with pytest.raises(ParameterError, match="digits"):
        setting.key.operand(setting.backend, setting.basis, len(setting.digits) + 1)
    with pytest.raises(ShapeError, match="switching key"):
        SwitchingKey(setting.secret)
    with pytest.raises(ParameterError, match="special"):
        make_switching_key(
            setting.backend,
            setting.basis,
            0,
            setting.digits,
            setting.secret,
            setting.target,
            Seed.fresh(),
        )


def test_its_repr_shows_no_number(setting: Setting) -> None:
    assert repr(setting.key) == f"<SwitchingKey of {len(setting.digits)} digits over 6 moduli>"
