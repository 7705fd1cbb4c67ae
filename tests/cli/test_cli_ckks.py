"""The command line with CKKS keys and tensors, beside Paillier's files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import hecore
from hecore import ckks, keystore
from hecore.cli import main

PASSPHRASE = "correct horse"
Fails = Callable[..., str]
ENCRYPT = ["encrypt", "--insecure", "--device", "reference", "--key", "ckks.pub"]
DECRYPT = ["decrypt", "--insecure", "--device", "reference", "--key", "ckks", "--passphrase-file", "pass"]
KEYGEN = [
    "keygen", "new", "--scheme", "ckks", "--insecure", "--device", "reference", "--passphrase-file", "pass",
    "--ring-degree", "64", "--moduli-bits", "50,30,50", "--scale-bits", "30",
]  # fmt: skip


@pytest.fixture(scope="module")
def ckks_keys() -> ckks.Keys:
    with hecore.use("reference"):
        parameters = ckks.Parameters.insecure(ring_degree=64, moduli_bits=[50, 30, 50], scale=2**30)
        return ckks.generate_keys(parameters)


@pytest.fixture
def ckks_folder(folder: Path, ckks_keys: ckks.Keys) -> Path:
    """The folder of Paillier's keys, and CKKS keys beside them."""
    keystore.save(ckks_keys.secret_key, "ckks", PASSPHRASE, allow_insecure=True, insecure_log2_n=1)
    Path("ckks.pub").write_bytes(ckks_keys.public_key.to_bytes())
    return folder


def test_keygen(folder: Path, capsys: pytest.CaptureFixture[str], fails: Fails) -> None:
    assert main([*KEYGEN, "--rotations", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["scheme"] == "ckks"
    assert result["moduli_bits"] == [50, 30, 50]
    assert result["relinearization_key"] is True
    assert result["galois_keys"] > 0
    with hecore.use("reference"):
        secret_key = keystore.load("new", PASSPHRASE, allow_insecure=True)
        public_key = ckks.PublicKey.from_bytes(Path("new.pub").read_bytes(), allow_insecure=True)
        assert isinstance(secret_key, ckks.SecretKey)
        assert secret_key.key_id == public_key.key_id
    assert result["key_id"] == public_key.key_id.hex()
    fails(KEYGEN, "cannot write new: the file exists")


def test_keygen_below_the_floor(folder: Path, fails: Fails) -> None:
    """Before any passphrase is asked for."""
    fails(["keygen", "new", "--scheme", "ckks", "--ring-degree", "4096"], "ring degree 4096", "128 bits of security")
    fails(["keygen", "new", "--scheme", "ckks", "--ring-degree", "5000"], "5000")
    assert not Path("new").exists()


@pytest.mark.parametrize("bits", ["40,many", "", "40;40"])
def test_moduli_that_are_no_numbers(bits: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keygen", "new", "--scheme", "ckks", "--moduli-bits", bits]) == 2
    assert "--moduli-bits" in capsys.readouterr().err


def test_there_and_back(ckks_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("table.csv").write_text("1.5,-2\n0.1,3\n0,4.25\n")
    assert main([*ENCRYPT, "table.csv", "out", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["shape"] == [3, 2]
    assert result["level"] == 1
    assert result["bytes"] == Path("out").stat().st_size
    assert main([*DECRYPT, "out", "back.csv"]) == 0
    back = np.loadtxt("back.csv", delimiter=",")
    np.testing.assert_allclose(back, [[1.5, -2], [0.1, 3], [0, 4.25]], atol=1e-4)


def test_the_own_key_makes_half_the_bytes(ckks_folder: Path) -> None:
    np.save("values.npy", np.linspace(-1, 1, 100))
    own = [*ENCRYPT[:-1], "ckks", "--passphrase-file", "pass"]
    assert main([*ENCRYPT, "values.npy", "full", "--bound", "1"]) == 0
    assert main([*own, "values.npy", "seeded"]) == 0
    assert Path("seeded").stat().st_size < 0.6 * Path("full").stat().st_size
    assert main([*DECRYPT, "seeded", "back.npy"]) == 0
    np.testing.assert_allclose(np.load("back.npy"), np.linspace(-1, 1, 100), atol=1e-4)


def test_options_of_the_other_scheme_are_refused(ckks_folder: Path, fails: Fails) -> None:
    fails([*ENCRYPT, "table.csv", "out", "--fixed-point", "-8", "20"], "CKKS is approximate")
    fails(["encrypt", "--insecure", "--key", "key.pub", "--bound", "2", "table.csv", "out"], "belongs to CKKS")
    fails([*ENCRYPT, "table.csv", "out", "--scheme", "paillier"], "the key in ckks.pub is of scheme ckks")
    fails(["inspect", "ckks.pub", "--scheme", "paillier"], "ckks.pub is of scheme ckks")
    fails(["inspect", "key", "--scheme", "ckks"], "key is of scheme paillier")
    assert not Path("out").exists()


def test_values_beyond_the_declared_bound_are_refused(ckks_folder: Path, fails: Fails) -> None:
    Path("table.csv").write_text("1,2.5\n")
    err = fails([*ENCRYPT, "table.csv", "out", "--bound", "2"], "bound")
    assert "2.5" not in err


def test_keys_of_the_two_schemes_are_not_confused(
    ckks_folder: Path, capsys: pytest.CaptureFixture[str], fails: Fails
) -> None:
    assert main([*ENCRYPT, "table.csv", "out"]) == 0
    capsys.readouterr()
    fails(["decrypt", "--insecure", "--key", "key", "--passphrase-file", "pass", "out", "back.csv"], "CKKS_TENSOR")
    fails(["decrypt", "--insecure", "--key", "ckks.pub", "out", "back.csv"], "the keystore is needed")
    fails(["inspect", "out", "--key", "key.pub"], "it is a Paillier key")
    assert not Path("back.csv").exists()


def test_a_tensor_of_another_key(ckks_folder: Path, capsys: pytest.CaptureFixture[str], fails: Fails) -> None:
    assert main(KEYGEN) == 0
    assert main([*ENCRYPT[:-1], "new.pub", "table.csv", "out"]) == 0
    capsys.readouterr()
    fails([*DECRYPT, "out", "back.csv"], "key")


def test_corrupted_files(ckks_folder: Path, capsys: pytest.CaptureFixture[str], fails: Fails) -> None:
    assert main([*ENCRYPT, "table.csv", "out"]) == 0
    capsys.readouterr()
    for name, argv in (("out", [*DECRYPT, "out", "back.csv"]), ("ckks.pub", [*ENCRYPT, "table.csv", "out2"])):
        original = Path(name).read_bytes()
        for place in (0, 5, 40, len(original) // 2, len(original) - 1):
            changed = bytearray(original)
            changed[place] ^= 0x40
            Path(name).write_bytes(changed)
            fails(argv)
            Path(name).write_bytes(original[:place])
            fails(argv)
        Path(name).write_bytes(original)
    assert main([*DECRYPT, "out", "back.csv"]) == 0


def test_inspect(ckks_folder: Path, ckks_keys: ckks.Keys, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ENCRYPT, "table.csv", "out"]) == 0
    capsys.readouterr()
    key_id = ckks_keys.public_key.key_id.hex()
    for name, extra, kind in (
        ("ckks", [], "keystore"),
        ("ckks.pub", ["--device", "reference"], "public key (CKKS)"),
        ("out", [], "encrypted tensor (CKKS)"),
        ("out", ["--device", "reference", "--key", "ckks.pub"], "encrypted tensor (CKKS)"),
    ):
        assert main(["inspect", name, *extra, "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["kind"].startswith(kind)
        assert key_id in (result.get("key_id"), result.get("fingerprint"))
        assert main(["inspect", name, *extra]) == 0
        assert "None" not in capsys.readouterr().out
    assert result["shape"] == [3, 2]
    bare = Path("bare")
    bare.write_bytes(ckks_keys.secret_key.to_bytes_unprotected())
    assert main(["inspect", "bare"]) == 0
    assert "SECRET KEY WITHOUT PROTECTION" in capsys.readouterr().out


# -- demo --------------------------------------------------------------------------------------------------

TINY = [
    "demo", "--scheme", "ckks", "--device", "reference", "--insecure", "--ring-degree", "64", "--rows", "60",
    "--features", "3", "--clients", "2", "--rounds", "1",
]  # fmt: skip


def test_demo(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--plot", "curves.png"]) == 0
    out, err = capsys.readouterr()
    assert "2 clients" in out
    assert "INSECURE" in out
    assert err == ""
    assert Path("curves.png").read_bytes().startswith(b"\x89PNG")
    assert main([*TINY, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["scheme"] == "ckks"
    assert result["options"]["features"] == 3
    assert result["auc"]["encrypted"] == pytest.approx(result["auc"]["floats"], abs=1e-3)


def test_demo_user_errors(folder: Path, fails: Fails) -> None:
    fails([*TINY, "--epochs", "2"], "--epochs", "belongs to --scheme paillier")
    fails(["demo", "--clients", "2"], "--clients", "belongs to --scheme ckks")
    fails([*TINY, "--rounds", "0"], "rounds = 0")
    fails(["demo", "--scheme", "ckks", "--ring-degree", "1024", "--device", "reference", "--rows", "9"], "1024")
