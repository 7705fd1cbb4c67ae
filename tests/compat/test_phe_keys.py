"""Keys, keyrings and the names that the package offers."""

from __future__ import annotations

import copy
import importlib
import pickle
import warnings
from types import ModuleType
from typing import Any

import gmpy2
import numpy as np
import phe as peer
import phe.command_line
import pytest

from hecore import errors
from hecore.compat import phe
from hecore.compat.phe import PaillierPrivateKey, PaillierPrivateKeyring, PaillierPublicKey

Keys = tuple[PaillierPublicKey, PaillierPrivateKey]

insecure = pytest.mark.filterwarnings("ignore::hecore.compat.phe.InsecureWarning")


@insecure
@pytest.mark.parametrize("bits", [*range(6, 40), 64, 127, 128, 255, 1024])
def test_any_size_from_six_bits_up(bits: int) -> None:
    public_key, private_key = phe.generate_paillier_keypair(n_length=bits)
    assert public_key.n.bit_length() == bits
    assert private_key.p < private_key.q
    assert private_key.p * private_key.q == public_key.n
    assert gmpy2.is_prime(private_key.p)
    assert gmpy2.is_prime(private_key.q)
    for message in (0, 1, public_key.n - 1):
        assert private_key.raw_decrypt(public_key.raw_encrypt(message)) == message
    assert private_key.decrypt(public_key.encrypt(public_key.max_int)) == public_key.max_int


@pytest.mark.parametrize("bits", [5, 0, -8])
def test_smaller_keys_do_not_exist(bits: int) -> None:
    with pytest.raises(errors.ParameterError):
        phe.generate_paillier_keypair(n_length=bits)


@pytest.mark.parametrize("bits", [8.0, "8", None])
def test_a_size_is_an_integer(bits: Any) -> None:
    with pytest.raises(errors.OperandTypeError):
        phe.generate_paillier_keypair(n_length=bits)


def test_small_keys_warn_where_they_are_made() -> None:
    with pytest.warns(phe.InsecureWarning, match="512-bit key") as caught:
        public_key, private_key = phe.generate_paillier_keypair(n_length=512)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with pytest.warns(phe.InsecureWarning, match="512-bit key") as caught:
        PaillierPublicKey(public_key.n)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert private_key.decrypt(public_key.encrypt(4)) == 4
        assert pickle.loads(pickle.dumps(public_key)) == public_key
        large = PaillierPublicKey((1 << 2047) + 1)  # no key, but nothing a look at n could tell
    assert large.n.bit_length() == 2048


@insecure
def test_the_peers_attributes(keys: Keys) -> None:
    public_key, private_key = keys
    n = public_key.n
    assert (public_key.g, public_key.nsquare, public_key.max_int) == (n + 1, n * n, n // 3 - 1)
    p, q = private_key.p, private_key.q
    assert (private_key.psquare, private_key.qsquare) == (p * p, q * q)
    assert private_key.p_inverse * p % q == 1
    assert private_key.hp == private_key.h_function(p, p * p)
    assert private_key.hq == private_key.h_function(q, q * q)
    assert private_key.l_function(5 * p + 1, p) == 5
    assert private_key.crt(12 % p, 12 % q) == 12
    assert all(0 < public_key.get_random_lt_n() < n for _ in range(20))


@insecure
def test_equality_hash_and_repr(keys: Keys, other_keys: Keys) -> None:
    public_key, private_key = keys
    again = PaillierPublicKey(public_key.n)
    assert public_key == again
    assert hash(public_key) == hash(again)
    assert public_key != other_keys[0]
    assert public_key != public_key.n
    swapped = PaillierPrivateKey(again, private_key.q, private_key.p)
    assert private_key == swapped
    assert hash(private_key) == hash(swapped)
    assert private_key != other_keys[1]
    assert private_key != 5
    assert repr(public_key).startswith("<PaillierPublicKey ")
    assert repr(private_key) == f"<PaillierPrivateKey for {public_key!r}>"
    assert repr(PaillierPublicKey(126869)) == repr(peer.PaillierPublicKey(126869)) == "<PaillierPublicKey 1ef95>"
    assert repr(public_key) == repr(peer.PaillierPublicKey(public_key.n))


@insecure
def test_public_keys_travel_with_what_makes_them_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phe._engine, "BACKEND_BITS", 0)
    public_key, private_key = phe.generate_paillier_keypair(n_length=128)
    for copied in (pickle.loads(pickle.dumps(public_key)), copy.copy(public_key), copy.deepcopy(public_key)):
        assert copied == public_key
        assert copied._h == public_key._h is not None
        assert copied._obfuscator is public_key._obfuscator  # one table a process
        assert private_key.decrypt(copied.encrypt(-3)) == -3


def test_pickling_a_private_key_warns(keys: Keys) -> None:
    with pytest.warns(phe.InsecureWarning, match="in the clear"):
        data = pickle.dumps(keys[1])
    assert pickle.loads(data) == keys[1]
    assert copy.deepcopy(keys[1]) is copy.copy(keys[1]) is keys[1]


@pytest.mark.parametrize("bad", ["5", 7.5, None, np.array(15)])
def test_a_modulus_is_an_integer(bad: Any) -> None:
    with pytest.raises(errors.OperandTypeError):
        PaillierPublicKey(bad)


@insecure
def test_numpy_and_gmp_integers_make_keys() -> None:
    ns: list[Any] = [np.int64(126869), gmpy2.mpz(126869)]
    for n in ns:
        key = PaillierPublicKey(n)
        assert type(key.n) is type(key.nsquare) is type(key.g) is int
        assert key == PaillierPublicKey(126869)


@pytest.mark.parametrize("n", [0, -7, 1, 2, 14, 100, 1 << 2048])
def test_impossible_moduli_are_refused(n: int) -> None:
    with pytest.raises(errors.MalformedKeyError):
        PaillierPublicKey(n)


@insecure
def test_factors_that_make_no_key_are_refused(keys: Keys) -> None:
    public_key, private_key = keys
    for p, q in ((3, 5), (private_key.p, private_key.q + 2)):
        with pytest.raises(errors.KeyMismatchError):
            PaillierPrivateKey(public_key, p, q)
    for p, q in ((1, public_key.n), (-private_key.p, -private_key.q)):
        with pytest.raises(errors.MalformedKeyError):
            PaillierPrivateKey(public_key, p, q)
    for p, q in ((7, 7), (15, 77), (3, 9)):
        with pytest.raises(errors.MalformedKeyError):
            PaillierPrivateKey(PaillierPublicKey(p * q), p, q)
    for bad in ("3", 3.0, None):
        with pytest.raises(errors.OperandTypeError):
            PaillierPrivateKey(public_key, bad, 5)  # type: ignore[arg-type]
    with pytest.raises(errors.OperandTypeError):
        PaillierPrivateKey(15, 3, 5)  # type: ignore[arg-type]


@insecure
def test_from_totient(keys: Keys) -> None:
    public_key, private_key = keys
    totient = (private_key.p - 1) * (private_key.q - 1)
    assert PaillierPrivateKey.from_totient(public_key, totient) == private_key
    for wrong in (0, 5, totient + 1, totient + 2, -totient, public_key.n**2):
        with pytest.raises(errors.KeyMismatchError):
            PaillierPrivateKey.from_totient(public_key, wrong)
    with pytest.raises(errors.OperandTypeError):
        PaillierPrivateKey.from_totient(public_key, "5")  # type: ignore[arg-type]


def test_keyring(keys: Keys, other_keys: Keys) -> None:
    ring = PaillierPrivateKeyring([keys[1]])
    assert keys[0] in ring
    assert other_keys[0] not in ring
    with pytest.raises(KeyError):
        ring.decrypt(other_keys[0].encrypt(3))
    ring.add(other_keys[1])
    assert list(ring) == [keys[0], other_keys[0]]
    assert ring[other_keys[0]] == other_keys[1]
    assert ring.decrypt(other_keys[0].encrypt(3)) == 3
    assert ring == PaillierPrivateKeyring((other_keys[1], keys[1]))
    assert ring != PaillierPrivateKeyring()
    del ring[keys[0]]
    assert len(ring) == 1
    with pytest.raises(KeyError):
        del ring[keys[0]]
    for bad in (5, keys[0]):
        with pytest.raises(errors.OperandTypeError):
            ring.add(bad)  # type: ignore[arg-type]
    with pytest.raises(errors.OperandTypeError):
        ring.decrypt(5)  # type: ignore[arg-type]


@insecure
def test_a_generated_key_joins_the_ring() -> None:
    ring = PaillierPrivateKeyring()
    public_key, private_key = phe.generate_paillier_keypair(ring, 64)
    assert ring[public_key] is private_key


IMPORTED = {"fractions", "hexlify", "math", "random", "sys", "unhexlify", "urlsafe_b64decode", "urlsafe_b64encode"}
"""What the peer's modules merely import, and no user takes from there."""


@pytest.mark.parametrize("name", ["", ".__about__", ".paillier", ".encoding", ".util", ".command_line"])
def test_every_public_name_of_the_peer_exists(name: str) -> None:
    theirs = importlib.import_module(f"phe{name}")
    ours = importlib.import_module(f"hecore.compat.phe{name}")
    public = {
        key
        for key, value in vars(theirs).items()
        if (not key.startswith("_") or key in getattr(theirs, "__all__", ()))
        and not isinstance(value, ModuleType)
        and not repr(value).startswith("_Feature")
    }
    assert public
    missing = {key for key in public - IMPORTED if not hasattr(ours, key)}
    assert not missing


@pytest.mark.parametrize(
    "name", ["PaillierPublicKey", "PaillierPrivateKey", "PaillierPrivateKeyring", "EncryptedNumber", "EncodedNumber"]
)
def test_every_member_of_the_peers_classes_exists(name: str) -> None:
    theirs, ours = getattr(peer, name), getattr(phe, name)
    private = {"_add_scalar", "_add_encoded", "_add_encrypted", "_abc_impl"}
    assert not {key for key in vars(theirs) if not key.startswith("__") and not hasattr(ours, key)} - private


def test_the_package_says_whose_api_it_is() -> None:
    assert phe.__version__ == peer.__version__
    assert phe.__title__ == peer.__title__
    with pytest.raises(AttributeError):
        phe.nothing  # noqa: B018
