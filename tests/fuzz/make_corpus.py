"""Write the seeds of the corpus: `python -m tests.fuzz.make_corpus`, from the root of a checkout.

Provenance: every file without "bad-" or "found-" in its name was made by this script, under keys of 128 bits and less
that were made for it and protect nothing. "bad-" are refused inputs, from here or found by the fuzzer; they and the
"found-" ones, once fuzzing found them, are kept by hand. Running the script again makes new keys; it replaces its own
files, and what was kept by hand for the old keys is then read as another key's.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np

import hecore
from hecore import keystore, wire
from hecore.demo.channel import pack_integers
from hecore.paillier import (
    FixedPoint,
    FloatsPerElement,
    Integers,
    Packing,
    PublicKey,
    SecretKey,
    generate_insecure_keypair,
    jwk,
)
from tests.fuzz.mutate import mend_frame
from tests.fuzz.targets import CORPUS, PASSPHRASE, secret_jwk

EXPONENTS = (2**31, -(2**31), 2**18, -(2**18))


def npy(text: str, data: bytes = b"", version: int = 1) -> bytes:
    """A .npy file with any text for a header."""
    header = text.ljust(117).encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + len(header).to_bytes(2 * version, "little") + header + data


def saved(values: object, *, fortran: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values, order="F" if fortran else "C"))
    return buffer.getvalue()


def seeds() -> dict[str, bytes]:
    """File -> bytes, all of them made anew."""
    public_key, secret_key = generate_insecure_keypair(128)
    textbook = SecretKey(PublicKey.insecure(public_key.n), secret_key.crt.p, secret_key.crt.q)
    tiny = SecretKey(PublicKey.insecure(15), 3, 5)
    files: dict[str, bytes] = {}
    for name, key in (("with_h", secret_key), ("textbook", textbook), ("tiny", tiny)):
        files[f"public_key/{name}"] = key.public_key.to_bytes()
        files[f"secret_key/{name}"] = key.to_bytes_unprotected()
        files[f"public_jwk/{name}"] = files[f"phe_public/{name}"] = key.public_key.to_jwk().encode()
        files[f"secret_jwk/{name}"] = files[f"phe_private/{name}"] = secret_jwk(key)
    # p divides q - 1: not every residue is a ciphertext; the peer takes such a key, and so does the peer's API
    files["secret_jwk/bad-common-factor"] = jwk.write_secret_unprotected(21, None, 3, 7, "kid").encode()
    files["phe_private/common-factor"] = files["secret_jwk/bad-common-factor"]

    grid = FixedPoint(-8, bits=16, fixed_scale=True)
    arrays = {
        "scalar": public_key.encrypt(7, encoding=Integers(8)),
        "integers": public_key.encrypt([[1, -2, 3], [4, 5, -6]], encoding=Integers(8)),
        "fixed": public_key.encrypt([0.5, -1.25], encoding=FixedPoint(-8, bits=16)),
        "grid": public_key.encrypt([0.5, -1.25], encoding=grid),
        "per_element": public_key.encrypt([0.5, 3.0], encoding=FloatsPerElement()),
        "computed": public_key.encrypt([1, 2], encoding=Integers(8)) + 1,
    }
    for name, array in arrays.items():
        files[f"array/{name}"] = array.to_bytes(raw=True)
        if name not in ("grid", "computed"):
            files[f"array_json/{name}"] = array.to_json(raw=True).encode()
    packings = {
        "integers": (Packing(8, 3), [[1, -2, 3, 4], [5, -6, 7, 8]]),
        "fixed": (Packing(8, 0, exponent=-4, slots=2), [0.5, -1.25, 2.0]),
    }
    for name, (packing, values) in packings.items():
        files[f"packed/{name}"] = packing.encrypt(public_key, values).to_bytes(raw=True)
    foreign = bytearray(files["packed/fixed"])
    foreign[8] ^= 1
    files["packed/bad-fingerprint"] = mend_frame(bytes(foreign), fingerprint=False)
    files["pickle/public_key"] = files["public_key/with_h"]
    files["pickle/array"] = files["array/fixed"]
    files["pickle/packed"] = files["packed/integers"]
    files["frame/empty"] = wire.write_frame(wire.Kind.ENCRYPTED_ARRAY, "00" * 16)
    files["frame/bytes"] = wire.write_frame(wire.Kind.PUBLIC_KEY, "0123456789abcdef" * 2, bytes(range(40)))
    files["frame/bad-empty"] = b""

    number = public_key.encrypt(7, encoding=Integers(8)).to_json().strip()
    for target in ("phe_number", "phe_decrypt"):
        files[f"{target}/integer"] = number.encode()
        files[f"{target}/float"] = number.replace('"e": 0', '"e": -3').encode()
        for e in EXPONENTS:
            prefix = "bad-" if target == "phe_number" and abs(e) > 2**18 else ""
            files[f"{target}/{prefix}exponent{e}"] = number.replace('"e": 0', f'"e": {e}').encode()

    files["table_csv/numbers"] = b"1,2.5,-3e-7\n4,nan,inf\n"
    files["table_csv_integers/numbers"] = b"1,-2,3\n123456789012345678901234567890,0,1_000\n"
    files["table_csv_integers/bad-long"] = b"9" * 5000
    files["table_npy/float64"] = saved([[0.5, -1.25], [3.0, 4.0]])
    files["table_npy/fortran"] = saved(np.arange(6, dtype=np.int32).reshape(2, 3), fortran=True)
    files["table_npy/scalar"] = saved(np.float32(1.5))
    good = "'fortran_order': False, 'shape': "
    files["table_npy/bad-huge-shape"] = npy(f"{{'descr': '<f8', {good}(100000000,), }}", bytes(8))
    files["table_npy/bad-negative-shape"] = npy(f"{{'descr': '<f8', {good}(-1,), }}", bytes(8))
    files["table_npy/bad-overflowing-shape"] = npy(f"{{'descr': '<f8', {good}(9223372036854775807, 4), }}", bytes(8))
    files["table_npy/bad-shape-beyond-int64"] = npy(f"{{'descr': '<f8', {good}({2**80},), }}", bytes(8))
    files["table_npy/bad-long-of-python-2"] = npy(f"{{'descr': '<f8', {good}(1L,), }}", bytes(8))
    files["table_npy/bad-unhashable-key"] = npy(f"{{[]: 1, 'descr': '<f8', {good}(1,), }}", bytes(8))
    files["table_npy/bad-nested"] = npy("(" * 5000)
    files["table_npy/bad-long-number"] = npy(f"{{'descr': '<f8', {good}({'9' * 5000},), }}", bytes(8))
    files["table_npy/bad-empty-strings"] = npy(f"{{'descr': '<U0', {good}(1000000000,), }}")
    files["table_npy/bad-huge-header"] = b"\x93NUMPY\x02\x00" + (2**32 - 1).to_bytes(4, "little") + b"{"
    files["table_npy/version2"] = npy(f"{{'descr': '<f8', {good}(1,), }}", bytes(8), version=2)

    for name, log2_n in (("cheap", 1), ("dearer", 5)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "key")
            keystore.save(secret_key, path, PASSPHRASE, allow_insecure=True, insecure_log2_n=log2_n)
            files[f"keystore/{name}"] = path.read_bytes()
    files["channel/integers"] = pack_integers([0, 1, -(2**70), 2**63])
    files["channel/none"] = pack_integers([])
    return files


def main() -> None:
    with hecore.use("reference"):
        files = seeds()
    for name, data in files.items():
        path = CORPUS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    main()
