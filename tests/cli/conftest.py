"""What the tests of the command line share: a folder with keys and a table, and how a failure looks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hecore import keystore, paillier
from hecore.cli import main
from hecore.paillier import PublicKey, SecretKey

PASSPHRASE = "correct horse"


@pytest.fixture(scope="module")
def keys() -> tuple[PublicKey, SecretKey]:
    return paillier.generate_insecure_keypair(512)


@pytest.fixture
def folder(keys: tuple[PublicKey, SecretKey], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a key pair under a cheap scrypt, its passphrase, and a table; the current one."""
    monkeypatch.chdir(tmp_path)
    keystore.save(keys[1], "key", PASSPHRASE, allow_insecure=True, insecure_log2_n=1)
    Path("key.pub").write_bytes(keys[0].to_bytes())
    Path("pass").write_text(f"{PASSPHRASE}\nanother line\n")
    Path("table.csv").write_text("1.5,-2\n0.1,1e10\n\n3,4\n")
    return tmp_path


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """fails(argv, *expected, code=1): one line on standard error that holds what is expected, nothing else."""

    def check(argv: list[str], *expected: str, code: int = 1) -> str:
        assert main(argv) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("hecore: ")
        assert err.count("\n") == 1
        assert "Traceback" not in err
        for part in expected:
            assert part in err
        return err

    return check
