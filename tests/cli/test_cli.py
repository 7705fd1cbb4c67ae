"""The command line: results, exit codes, one-line errors, no secret on it."""

from __future__ import annotations

import io
import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import hecore
from hecore import keystore, paillier
from hecore.cli import files, main
from hecore.paillier import PublicKey, SecretKey

PASSPHRASE = "correct horse"
Fails = Callable[..., str]
ENCRYPT = ["encrypt", "--insecure", "--device", "reference", "--key", "key.pub"]
DECRYPT = ["decrypt", "--insecure", "--device", "reference", "--key", "key", "--passphrase-file", "pass"]


# -- usage -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [[], ["devices"], ["keygen"], ["encrypt"], ["decrypt"], ["inspect"], ["demo"]])
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    out, err = capsys.readouterr()
    assert "exit codes" in out
    assert "never arguments" in out
    assert err == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hecore {hecore.__version__}\n"


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["frobnicate"],
        ["keygen"],
        ["keygen", "x", "--key-bits", "many"],
        ["encrypt", "a.csv", "b"],
        ["encrypt", "--key", "k", "a.csv", "b", "--integers", "8", "--fixed-point", "-8", "20"],
        ["demo", "--unknown"],
        ["keygen", "x", "--passphrase", "secret"],  # no abbreviation of --passphrase-file either
        ["keygen", "x", "--pass", "secret"],
    ],
)
def test_wrong_usage_is_two(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: hecore")


# -- devices -----------------------------------------------------------------------------------------------


def test_devices(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices"]) == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} >= {"cpu", "reference"}
    assert main(["devices", "--json"]) == 0
    devices = {device["name"]: device for device in json.loads(capsys.readouterr().out)["devices"]}
    assert devices["reference"]["available"] is True
    assert devices["reference"]["simulated"] is False


def test_unknown_device(folder: Path, fails: Fails) -> None:
    fails(
        ["encrypt", "--insecure", "--key", "key.pub", "--device", "warp", "table.csv", "out"],
        "'warp'",
        "found cpu, reference",
    )
    fails(["demo", "--device", "warp"], "'warp'")
    assert not Path("out").exists()


def test_a_device_holds_for_one_command_only(folder: Path) -> None:
    from hecore.backends import registry

    before = registry._current.get()
    assert main([*ENCRYPT, "table.csv", "out", "--quiet"]) == 0
    assert registry._current.get() is before


# -- keys --------------------------------------------------------------------------------------------------


def test_keygen(folder: Path, capsys: pytest.CaptureFixture[str], fails: Fails) -> None:
    argv = ["keygen", "new", "--key-bits", "512", "--insecure", "--passphrase-file", "pass", "--json"]
    assert main(argv) == 0
    result = json.loads(capsys.readouterr().out)
    secret_key = keystore.load("new", PASSPHRASE, scheme="paillier", allow_insecure=True)
    public_key = PublicKey.from_bytes(Path("new.pub").read_bytes(), allow_insecure=True)
    assert secret_key.public_key == public_key
    assert result == {
        "scheme": "paillier",
        "secret_key": "new",
        "public_key": "new.pub",
        "key_bits": 512,
        "fingerprint": public_key.fingerprint,
    }
    assert stat.S_IMODE(os.stat("new").st_mode) == 0o600
    assert Path("new").read_bytes()[12] == keystore.LOG2_N  # --insecure allows small keys, not a cheap scrypt
    fails(argv, "cannot write new: the file exists")
    assert keystore.load("new", PASSPHRASE, scheme="paillier", allow_insecure=True).public_key == public_key
    Path("new").unlink()
    fails(argv, "cannot write new.pub: the file exists")
    assert not Path("new").exists()


def test_keygen_below_the_floor(folder: Path, fails: Fails) -> None:
    fails(["keygen", "new", "--key-bits", "1024"], "the floor is 2048 bits")  # before any passphrase
    fails(["keygen", "new", "--key-bits", "1023", "--insecure"], "must be even")
    fails(["keygen", "new", "--key-bits", "10000000"], "at most 8192")
    assert not Path("new").exists()


def test_keygen_into_no_folder(folder: Path, fails: Fails) -> None:
    fails(["keygen", "nowhere/new"], "there is no folder nowhere")


def prompts(monkeypatch: pytest.MonkeyPatch, *answers: str | BaseException) -> list[str]:
    """Answers the passphrase prompts as a terminal would; returns what was asked."""
    asked: list[str] = []
    left = list(answers)

    def answer(prompt: str) -> str:
        asked.append(prompt)
        given = left.pop(0)
        if isinstance(given, BaseException):
            raise given
        return given

    monkeypatch.setattr(files, "getpass", answer)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    return asked


NEW = ["keygen", "new", "--key-bits", "256", "--insecure"]


def test_keygen_asks_twice(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked = prompts(monkeypatch, "tr0ub4dor", "tr0ub4dor")
    assert main(NEW) == 0
    assert asked == ["New passphrase for new: ", "Once more: "]
    out, err = capsys.readouterr()
    assert "tr0ub4dor" not in out + err
    assert keystore.load("new", "tr0ub4dor", scheme="paillier", allow_insecure=True).public_key.key_bits == 256


@pytest.mark.parametrize(
    ("answers", "code", "message"),
    [
        (("one", "two"), 1, "not the same"),
        (("", ""), 1, "empty passphrase"),
        ((EOFError(),), 1, "without a passphrase"),
        ((KeyboardInterrupt(),), 130, "interrupted"),
    ],
)
def test_prompts_that_come_to_nothing(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    fails: Fails,
    answers: tuple[str | BaseException, ...],
    code: int,
    message: str,
) -> None:
    prompts(monkeypatch, *answers)
    err = fails(NEW, message, code=code)
    assert "one" not in err.split()
    assert not Path("new").exists()
    assert not Path("new.pub").exists()


def test_without_a_terminal_nobody_is_asked(folder: Path, monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("from the pipe\n"))
    fails(NEW, "no terminal", "--passphrase-file", "HECORE_PASSPHRASE_FILE")


def test_passphrase_file_from_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fails: Fails
) -> None:
    assert main([*ENCRYPT, "table.csv", "out"]) == 0
    with monkeypatch.context() as patch:
        patch.setenv("HECORE_PASSPHRASE_FILE", "pass")
        assert main([*DECRYPT[:-2], "out", "back.csv"]) == 0
        patch.setenv("HECORE_PASSPHRASE_FILE", "absent")
        capsys.readouterr()
        fails([*DECRYPT[:-2], "out", "back2.csv"], "absent")


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "empty"), (b"\nsecond", "empty"), (b"x" * 5000, "longer than 4096")]
)
def test_unusable_passphrase_files(folder: Path, fails: Fails, content: bytes, message: str) -> None:
    Path("pass").write_bytes(content)
    fails([*NEW, "--passphrase-file", "pass"], message)


# -- encrypt and decrypt -----------------------------------------------------------------------------------


def test_csv_there_and_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ENCRYPT, "table.csv", "out", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["shape"] == [3, 2]
    assert result["bytes"] == os.stat("out").st_size
    assert main([*DECRYPT, "out", "back.csv"]) == 0
    assert Path("back.csv").read_text() == "1.5,-2.0\n0.1,10000000000.0\n3.0,4.0\n"
    assert stat.S_IMODE(os.stat("back.csv").st_mode) == 0o600


def test_npy_there_and_back_with_the_own_key(folder: Path, capsys: pytest.CaptureFixture[str], fails: Fails) -> None:
    values = np.arange(-12, 12, dtype=np.int16).reshape(2, 3, 4)
    np.save("values.npy", values)
    own = ["encrypt", "--insecure", "--device", "reference", "--key", "key", "--passphrase-file", "pass"]
    assert main([*own, "values.npy", "out"]) == 0
    assert main([*DECRYPT, "out", "back.npy"]) == 0
    np.testing.assert_array_equal(np.load("back.npy"), values)
    capsys.readouterr()
    fails([*DECRYPT, "out", "back.csv"], "two axes", "(2, 3, 4)")


def test_integers_and_fixed_point(folder: Path, capsys: pytest.CaptureFixture[str], fails: Fails) -> None:
    Path("integers.csv").write_text(f"{10**30}\n{-7}\n")
    assert main([*ENCRYPT, "integers.csv", "out", "--integers", "100"]) == 0
    assert main([*DECRYPT, "out", "back.csv"]) == 0
    assert Path("back.csv").read_text() == f"{10**30}\n-7\n"
    capsys.readouterr()
    fails([*DECRYPT, "out", "back.npy"], "beyond int64")
    fails([*ENCRYPT, "integers.csv", "out2", "--integers", "64"], "outside Integers(bits=64)")
    fails([*ENCRYPT, "table.csv", "out2", "--integers", "64"], "line 1", "not an integer")
    assert main([*ENCRYPT, "table.csv", "out3", "--fixed-point", "-2", "40"]) == 0
    assert main([*DECRYPT, "out3", "rounded.csv"]) == 0
    assert Path("rounded.csv").read_text().splitlines()[1] == "0.0,10000000000.0"  # 0.1 to quarters


def test_many_values_in_chunks(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hecore.cli.paillier.DECRYPT_CHUNK", 7)
    values = np.arange(30, dtype=np.int8).reshape(15, 2)
    np.save("values.npy", values)
    assert main([*ENCRYPT, "values.npy", "out"]) == 0
    assert main([*DECRYPT, "out", "back.npy"]) == 0
    np.testing.assert_array_equal(np.load("back.npy"), values)


def npy_header(text: str) -> bytes:
    """A .npy file of this header and nothing behind it."""
    line = text.ljust(118) + "\n"
    return b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line.encode()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bad.csv", b"1,2\n3,x\n", "line 2 holds what is not a number"),
        ("bad.csv", b"1,2\n3\n", "line 2 has 1 fields, the first 2"),
        ("bad.csv", b"\n\n", "holds no numbers"),
        ("bad.csv", b"", "holds no numbers"),
        ("bad.csv", b"\xff\xfe1", "no comma-separated text"),
        ("bad.csv", b"1,nan\n", "NaN"),
        ("bad.csv", b"1,inf\n", "infinit"),
        ("bad.csv", b"1,1e30\n", "outside"),
        ("bad.npy", b"", "cannot read bad.npy"),
        ("bad.npy", b"\x93NUMPY\x01\x00 broken", "cannot read bad.npy"),
        ("bad.npy", b"PK\x03\x04 an archive", "no .npy file"),
        ("bad.npy", npy_header("{'descr': '<i4', 'fortran_order': False, 'shape': (3, 4, }"), "no .npy file"),
        ("bad.npy", npy_header("{'descr': '<,i4', 'fortran_order': False, 'shape': (3,), }"), "no .npy file"),
        ("bad.npy", npy_header("{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }"), "no .npy file"),
        ("bad.npy", npy_header("{'descr': '<i8', 'fortran_order': False, 'shape': (1" + "0" * 14 + ",), }"), "no .npy"),
        ("bad.txt", b"1,2\n", ".csv or .npy"),
    ],
)
def test_bad_tables(folder: Path, fails: Fails, name: str, content: bytes, message: str) -> None:
    Path(name).write_bytes(content)
    err = fails([*ENCRYPT, name, "out"], message)
    assert "3,x" not in err  # no plaintext in a message
    assert not Path("out").exists()


def test_a_table_with_pickles_is_not_run(folder: Path, fails: Fails) -> None:
    np.save("objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    fails([*ENCRYPT, "objects.npy", "out"], "cannot read objects.npy")


def test_a_table_of_strings(folder: Path, fails: Fails) -> None:
    np.save("strings.npy", np.array(["a"]))
    fails([*ENCRYPT, "strings.npy", "out"], "dtype")


def test_missing_files(folder: Path, fails: Fails) -> None:
    fails([*ENCRYPT, "absent.csv", "out"], "absent.csv")
    fails(["encrypt", "--key", "absent", "table.csv", "out"], "absent")
    fails([*DECRYPT, "absent", "out.csv"], "absent")


def test_nothing_is_overwritten_unasked(folder: Path, capsys: pytest.CaptureFixture[str], fails: Fails) -> None:
    Path("out").write_text("precious")
    fails([*ENCRYPT, "table.csv", "out"], "exists", "--overwrite")
    assert Path("out").read_text() == "precious"
    assert main([*ENCRYPT, "table.csv", "out", "--overwrite"]) == 0
    Path("back.csv").write_text("precious")
    capsys.readouterr()
    fails([*DECRYPT, "out", "back.csv"], "exists")
    assert main([*DECRYPT, "out", "back.csv", "--overwrite"]) == 0


def test_wrong_passphrase(folder: Path, capsys: pytest.CaptureFixture[str], fails: Fails) -> None:
    assert main([*ENCRYPT, "table.csv", "out"]) == 0
    capsys.readouterr()
    Path("pass").write_text("incorrect donkey\n")
    err = fails([*DECRYPT, "out", "back.csv"], "the passphrase is wrong or the file was changed")
    assert "donkey" not in err
    assert not Path("back.csv").exists()


def test_insecure_keys_need_the_word(folder: Path, fails: Fails) -> None:
    fails(["encrypt", "--key", "key.pub", "table.csv", "out"], "512 bits")
    fails(["decrypt", "--key", "key", "--passphrase-file", "pass", "table.csv", "o.csv"], "512")


def test_corrupted_files(folder: Path, capsys: pytest.CaptureFixture[str], fails: Fails) -> None:
    assert main([*ENCRYPT, "table.csv", "out"]) == 0
    capsys.readouterr()
    for name, argv in (
        ("out", [*DECRYPT, "out", "back.csv"]),
        ("key", [*DECRYPT, "out", "back.csv"]),
        ("key.pub", [*ENCRYPT, "table.csv", "out2"]),
    ):
        original = Path(name).read_bytes()
        for place in (0, 5, 20, len(original) // 2, len(original) - 1):
            changed = bytearray(original)
            changed[place] ^= 0x40
            Path(name).write_bytes(changed)
            fails(argv)
            Path(name).write_bytes(original[:place])
            fails(argv)
        Path(name).write_bytes(original)
    assert main([*DECRYPT, "out", "back.csv"]) == 0


def test_key_files_confused(folder: Path, capsys: pytest.CaptureFixture[str], fails: Fails) -> None:
    assert main([*ENCRYPT, "table.csv", "out"]) == 0
    capsys.readouterr()
    wrong = ["decrypt", "--insecure", "--key", "key.pub", "out", "back.csv"]
    fails(wrong, "it is a public key, the keystore is needed")
    fails(["encrypt", "--key", "table.csv", "table.csv", "out2"], "cannot read table.csv as a key")
    fails(["encrypt", "--insecure", "--key", "out", "table.csv", "out2"], "cannot read out as a key")


def test_an_array_of_another_key(
    folder: Path, keys: tuple[PublicKey, SecretKey], capsys: pytest.CaptureFixture[str], fails: Fails
) -> None:
    other, _ = paillier.generate_insecure_keypair(512)
    Path("key.pub").write_bytes(other.to_bytes())
    assert main([*ENCRYPT, "table.csv", "out"]) == 0
    capsys.readouterr()
    fails([*DECRYPT, "out", "back.csv"], other.fingerprint, keys[0].fingerprint)


# -- inspect -----------------------------------------------------------------------------------------------


def test_inspect(folder: Path, keys: tuple[PublicKey, SecretKey], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ENCRYPT, "table.csv", "out"]) == 0
    capsys.readouterr()
    for name, extra, kind in (
        ("key", [], "keystore"),
        ("key.pub", [], "public key"),
        ("out", [], "encrypted array"),
        ("out", ["--device", "reference", "--key", "key.pub"], "encrypted array"),
    ):
        assert main(["inspect", name, *extra, "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["kind"].startswith(kind)
        assert result["fingerprint"] == keys[0].fingerprint
        assert result.get("shape") == ([3, 2] if extra else None)
        assert main(["inspect", name, *extra]) == 0
        text = capsys.readouterr().out
        assert text.startswith("kind")
        assert keys[0].fingerprint in text
        for secret in (keys[1].crt.p, keys[1].crt.q):
            assert str(secret) not in text + json.dumps(result)
            assert f"{secret:x}" not in text + json.dumps(result)


def test_packed_arrays(folder: Path, keys: tuple[PublicKey, SecretKey], capsys: pytest.CaptureFixture[str]) -> None:
    values = np.arange(-6, 6).reshape(2, 6)
    with hecore.use("reference"):
        Path("packed").write_bytes(paillier.Packing(slot_bits=8).encrypt(keys[0], values).to_bytes())
    assert main(["inspect", "packed", "--device", "reference", "--key", "key.pub", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["kind"] == "encrypted array, packed"
    assert result["shape"] == [2, 6]
    assert main([*DECRYPT, "packed", "back.npy"]) == 0
    np.testing.assert_array_equal(np.load("back.npy"), values)


def test_inspect_names_a_failed_check(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "key.pub"]) == 0
    assert "FAILED            n has at least 2048 bits (it has 512)" in capsys.readouterr().out


def test_inspect_names_the_assumption_of_short_exponents(
    folder: Path, keys: tuple[PublicKey, SecretKey], capsys: pytest.CaptureFixture[str], fails: Fails
) -> None:
    short = PublicKey.insecure(keys[0].n, keys[0].h, randomness_bits=100)
    Path("short.pub").write_bytes(short.to_bytes())
    assert main(["inspect", "short.pub"]) == 0
    assert "discrete logarithms of 100 bits" in capsys.readouterr().out
    fails(["encrypt", "--insecure", "--key", "short.pub", "table.csv", "short"], "allow_short_randomness")


def test_inspect_a_secret_key_in_the_clear(
    folder: Path, keys: tuple[PublicKey, SecretKey], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bare").write_bytes(keys[1].to_bytes_unprotected())
    assert main(["inspect", "bare"]) == 0
    assert "SECRET KEY WITHOUT PROTECTION" in capsys.readouterr().out


def test_inspect_what_is_not_ours(folder: Path, fails: Fails) -> None:
    fails(["inspect", "table.csv"], "cannot tell what table.csv is")
    Path("empty").touch()
    fails(["inspect", "empty"], "cannot tell")
    fails(["inspect", "absent"], "absent")
    fails(["inspect", "."], "Is a directory")
    Path("half").write_bytes(Path("key").read_bytes()[:50])
    fails(["inspect", "half"], "truncated")
    Path("half").write_bytes(Path("key.pub").read_bytes()[:50])
    fails(["inspect", "half"], "cannot read")
