"""Bytes between the real peer and ours, both ways: its context, our evaluation, its decryption; ours, its, ours."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hecore.compat import tenseal as ts
from hecore.errors import HecoreError, KeyMismatchError, SerializationError

ROOT = Path(__file__).parents[2]
MODULI = [60, 40, 40, 60]
VALUES = np.array([0.5, -1.25, 3.0, 0.0, 2.5])
MATRIX = np.arange(15).reshape(5, 3) / 8


@pytest.fixture(scope="module")
def peer() -> Any:
    import tenseal

    return tenseal


@pytest.fixture(scope="module", params=["asymmetric", "symmetric"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make(module: Any, kind: str) -> Any:
    encryption_type = module.ENCRYPTION_TYPE[kind.upper()]
    context = module.context(module.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=MODULI, encryption_type=encryption_type)
    context.global_scale = 2.0**40
    context.generate_galois_keys()
    return context


@pytest.fixture(scope="module")
def theirs(peer: Any, kind: str) -> Any:
    return make(peer, kind)


@pytest.fixture(scope="module")
def mine(kind: str) -> ts.Context:
    return make(ts, kind)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def theirs_here(theirs: Any) -> ts.Context:
    """Their context without its secret key, read by us."""
    return ts.context_from(theirs.serialize())


@pytest.fixture(scope="module")
def mine_there(peer: Any, mine: ts.Context) -> Any:
    """Our context without its secret key, read by them."""
    return peer.context_from(mine.serialize())


def evaluate(x: Any) -> dict[str, tuple[Any, Any]]:
    """What can be done to VALUES under a public context, and what it should give."""
    return {
        "square": (x * x, VALUES**2),
        "polynomial": (x.polyval([1, 2, 0, 0.5]), 1 + 2 * VALUES + 0.5 * VALUES**3),
        "plain": (x * 2 + VALUES.tolist() - 1, 3 * VALUES - 1),
        "sum": (x.sum(), [VALUES.sum()]),
        "dot": (x.dot(x), [VALUES @ VALUES]),
        "matrix": (x.mm(MATRIX.tolist()), VALUES @ MATRIX),
        "negated": (-x, -VALUES),
    }


def test_their_context_our_evaluation_their_decryption(peer: Any, theirs: Any, theirs_here: ts.Context) -> None:
    assert theirs_here.is_public()
    assert theirs_here.has_galois_keys()
    assert theirs_here.has_relin_keys()
    assert theirs_here.global_scale == 2.0**40
    x = ts.ckks_vector_from(theirs_here, peer.ckks_vector(theirs, VALUES.tolist()).serialize())
    for name, (result, expected) in evaluate(x).items():
        found = peer.ckks_vector_from(theirs, result.serialize()).decrypt()
        assert np.allclose(found, expected, rtol=0, atol=1e-4), name


def test_our_context_their_evaluation_our_decryption(peer: Any, mine: ts.Context, kind: str) -> None:
    """Their polynomials and matrix products encrypt, for which a symmetric context needs its secret key."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ts.InsecureWarning)
        there = peer.context_from(mine.serialize(save_secret_key=kind == "symmetric"))
    x = peer.ckks_vector_from(there, ts.ckks_vector(mine, VALUES).serialize())
    for name, (result, expected) in evaluate(x).items():
        found = ts.ckks_vector_from(mine, result.serialize()).decrypt()
        assert np.allclose(found, expected, rtol=0, atol=1e-4), name


def test_there_and_back(peer: Any, theirs: Any, theirs_here: ts.Context) -> None:
    """Ours evaluates, they go on, ours goes on, they decrypt."""
    x = ts.ckks_vector_from(theirs_here, peer.ckks_vector(theirs, VALUES.tolist()).serialize())
    doubled = peer.ckks_vector_from(theirs, (x + VALUES).serialize())
    there = doubled * doubled
    here = ts.ckks_vector_from(theirs_here, there.serialize())
    total = here * [1, 2, 3, 4, 5]
    found = peer.ckks_vector_from(theirs, total.serialize()).decrypt()
    assert np.allclose(found, 4 * VALUES**2 * [1, 2, 3, 4, 5], rtol=0, atol=1e-3)


def test_encryption_under_each_others_keys(peer: Any, theirs: Any, mine: ts.Context) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ts.InsecureWarning)
        private_there = peer.context_from(mine.serialize(save_secret_key=True, save_galois_keys=False))
    private_here = ts.context_from(theirs.serialize(save_secret_key=True, save_galois_keys=False))
    assert private_here.is_private()
    assert np.allclose(
        peer.ckks_vector_from(theirs, ts.ckks_vector(private_here, VALUES).serialize()).decrypt(), VALUES, atol=1e-5
    )
    assert np.allclose(
        ts.ckks_vector_from(mine, peer.ckks_vector(private_there, VALUES.tolist()).serialize()).decrypt(),
        VALUES,
        atol=1e-5,
    )
    squared = peer.ckks_vector(private_there, VALUES.tolist()) ** 2  # with a relinearization key made there
    assert np.allclose(ts.ckks_vector_from(mine, squared.serialize()).decrypt(), VALUES**2, atol=1e-4)


@pytest.mark.parametrize("batch", [False, True])
def test_tensors(
    peer: Any, theirs: Any, theirs_here: ts.Context, mine: ts.Context, mine_there: Any, batch: bool
) -> None:
    values = np.arange(6).reshape(2, 3) / 4
    a = ts.ckks_tensor_from(theirs_here, peer.ckks_tensor(theirs, values.tolist(), batch=batch).serialize())
    result = a * a + a
    there = peer.ckks_tensor_from(theirs, result.serialize())
    assert there.shape == a.shape == ([3] if batch else [2, 3])
    assert np.allclose(there.decrypt().tolist(), values**2 + values, rtol=0, atol=1e-4)
    b = peer.ckks_tensor_from(mine_there, ts.ckks_tensor(mine, values, batch=batch).serialize())
    back = ts.ckks_tensor_from(mine, (b * b - 1).serialize())
    assert np.allclose(back.decrypt().tolist(), values**2 - 1, rtol=0, atol=1e-4)


def test_chunked_vectors(peer: Any, theirs: Any, theirs_here: ts.Context, mine: ts.Context, mine_there: Any) -> None:
    values = np.linspace(-1, 1, 5000)
    x = ts.ckks_vector_from(theirs_here, peer.ckks_vector(theirs, values.tolist()).serialize())
    assert np.allclose(peer.ckks_vector_from(theirs, (x * 3).serialize()).decrypt(), 3 * values, rtol=0, atol=1e-4)
    y = peer.ckks_vector_from(mine_there, ts.ckks_vector(mine, values).serialize())
    assert np.allclose(ts.ckks_vector_from(mine, (y + y).serialize()).decrypt(), 2 * values, rtol=0, atol=1e-4)


def test_convolution_of_what_they_encrypted(peer: Any, theirs: Any, theirs_here: ts.Context) -> None:
    image, kernel = np.arange(16).reshape(4, 4) / 16, np.array([[1.0, -1.0], [0.5, 2.0]])
    encrypted, windows = peer.im2col_encoding(theirs, image.tolist(), 2, 2, 1)
    x = ts.ckks_vector_from(theirs_here, encrypted.serialize())
    maps = [x.conv2d_im2col(kernel, windows), x.conv2d_im2col(-kernel, windows) + 1]
    packed = ts.CKKSVector.pack_vectors(maps)
    expected = np.array([(image[i : i + 2, j : j + 2] * kernel).sum() for i in range(3) for j in range(3)])
    found = peer.ckks_vector_from(theirs, packed.serialize()).decrypt()
    assert np.allclose(found, [*expected, *(1 - expected)], rtol=0, atol=1e-4)


def test_flags_and_scale_travel(peer: Any, kind: str) -> None:
    source = ts.context(
        ts.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 60], encryption_type=ts.ENCRYPTION_TYPE[kind.upper()]
    )
    for name in ("auto_relin", "auto_rescale", "auto_mod_switch"):
        setattr(source, name, False)
        loaded = peer.context_from(source.serialize())
        with pytest.raises(ValueError, match="no global scale"):
            loaded.global_scale  # noqa: B018
        back = ts.context_from(loaded.serialize())
        for other in ("auto_relin", "auto_rescale", "auto_mod_switch"):
            assert getattr(loaded, other) == getattr(back, other) == (other != name)
        setattr(source, name, True)
    source.global_scale = 12345.5
    assert peer.context_from(source.serialize()).global_scale == 12345.5


def test_default_moduli_are_the_peers(peer: Any) -> None:
    for degree in (4096, 8192, 16384):
        theirs = peer.context(peer.SCHEME_TYPE.CKKS, degree, encryption_type=peer.ENCRYPTION_TYPE.SYMMETRIC)
        mine = ts.context(ts.SCHEME_TYPE.CKKS, degree, encryption_type=ts.ENCRYPTION_TYPE.SYMMETRIC)
        there, here = (c.seal_context().data.key_context_data().parms_id() for c in (theirs, mine))
        assert list(there) == list(here)


def test_keys_are_told_apart_by_what_is_public(peer: Any, theirs: Any, kind: str) -> None:
    """Bytes of the peer name no key; its public key does, and a secret key within one process."""
    stranger = make(peer, kind)
    here = ts.context_from(theirs.serialize(save_secret_key=True, save_galois_keys=False, save_relin_keys=False))
    other = ts.context_from(stranger.serialize(save_secret_key=True, save_galois_keys=False, save_relin_keys=False))
    again = ts.context_from(theirs.serialize(save_galois_keys=False))
    x, y, z = (ts.ckks_vector_from(c, peer.ckks_vector(theirs, [1.0]).serialize()) for c in (here, other, again))
    with pytest.raises(KeyMismatchError):
        x.add(y)
    assert np.allclose((x + z).decrypt(), [2], atol=1e-5)
    assert np.allclose((z + x).decrypt(here.secret_key()), [2], atol=1e-5)


def test_other_contexts_of_the_peer_are_refused(peer: Any, theirs: Any) -> None:
    bfv = peer.context(peer.SCHEME_TYPE.BFV, 4096, 1032193)
    with pytest.raises(ts.SchemeNotSupportedError):
        ts.context_from(bfv.serialize())
    small = ts.context(ts.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=[40, 40])
    data = peer.ckks_vector(theirs, [1.0]).serialize()
    with pytest.raises(RuntimeError):
        ts.ckks_vector_from(small, data)
    with pytest.raises(HecoreError):
        ts.ckks_tensor_from(small, data)


def test_altered_bytes_are_refused_or_read_whole(peer: Any, theirs: Any, theirs_here: ts.Context) -> None:
    data = bytearray(peer.ckks_vector(theirs, [1.0]).serialize())
    for position in (0, 1, 5, 20, 40, 60, len(data) - 5, len(data) - 12):
        altered = data.copy()
        altered[position] ^= 0xFF
        try:
            ts.ckks_vector_from(theirs_here, bytes(altered))
        except SerializationError:
            continue
        assert position > len(data) - 20, "only the scale is free"


def test_under_the_peers_name() -> None:
    """Programs that import the peer by name run on ours; classes are the same by either route."""
    program = """
import sys
import hecore.compat.tenseal as ours
sys.modules["tenseal"] = ours
import tenseal as ts
from tenseal.enc_context import Context, GaloisKeys, SecretKey
from tenseal.tensors import CKKSVector, PlainTensor
from tenseal.tensors.ckkstensor import CKKSTensor
from tenseal.version import __version__
assert Context is ts.Context is ours.Context
assert (GaloisKeys, SecretKey) == (ours.enc_context.GaloisKeys, ours.enc_context.SecretKey)
assert (CKKSVector, CKKSTensor, PlainTensor) == (ts.CKKSVector, ts.CKKSTensor, ts.PlainTensor)
assert isinstance(ts.plain_tensor([1]), PlainTensor)
assert ts.__version__ == __version__ == "0.3.18"
"""
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_every_public_name_of_the_peer_is_here(peer: Any) -> None:
    not_ours = {"_ts_cpp", "sealapi"}
    assert {n for n in dir(peer) if not n.startswith("__")} - not_ours <= set(dir(ts))
    for name in ("Context", "CKKSVector", "CKKSTensor", "PlainTensor"):
        public = {n for n in dir(getattr(peer, name)) if not n.startswith("_")}
        assert public <= set(dir(getattr(ts, name))), name
    names = ("SecretKey", "PublicKey", "GaloisKeys", "RelinKeys", "SEALContext", "Encryptor", "Decryptor", "Context")
    assert all(hasattr(ts.enc_context, name) for name in names)
