"""Secret keys at rest: round trips, every byte guarded, bounded parameters, whole files or none."""

from __future__ import annotations

import errno
import os
import stat
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hecore
from hecore import ckks, keystore
from hecore.errors import (
    InsecureParametersError,
    KeystoreError,
    OperandTypeError,
    ParameterError,
    WrongPassphraseError,
)
from hecore.paillier.keys import SecretKey, generate_insecure_keypair

PASSPHRASE = "correct horse battery staple"
HEADER_BYTES = 89
HONEST = struct.pack(">8sBBBBBII32s12sI16sI", b"HECOREKS", 1, 1, 1, 1, 17, 8, 1, b"s", b"n", 2048, b"f", 40) + bytes(40)


@pytest.fixture(scope="module")
def secret_key() -> SecretKey:
    return generate_insecure_keypair(256)[1]


@pytest.fixture
def saved(secret_key: SecretKey, tmp_path: Path) -> Path:
    """A file under a scrypt cheap enough to be opened a thousand times."""
    path = tmp_path / "key.hks"
    keystore.save(secret_key, path, PASSPHRASE, allow_insecure=True, insecure_log2_n=1)
    return path


def test_round_trip_under_full_scrypt(secret_key: SecretKey, tmp_path: Path) -> None:
    path = tmp_path / "key.hks"
    keystore.save(secret_key, path, PASSPHRASE, allow_insecure=True)
    assert path.read_bytes()[12] == 17
    loaded = keystore.load(path, PASSPHRASE.encode(), scheme="paillier", allow_insecure=True)
    assert loaded.public_key == secret_key.public_key
    assert (loaded.crt.p, loaded.crt.q) == (secret_key.crt.p, secret_key.crt.q)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["key.hks"]


def test_salt_nonce_and_ciphertext_are_fresh_each_time(secret_key: SecretKey, tmp_path: Path) -> None:
    files = []
    for name in ("a", "b"):
        keystore.save(secret_key, tmp_path / name, PASSPHRASE, allow_insecure=True, insecure_log2_n=1)
        files.append((tmp_path / name).read_bytes())
    for start, stop in ((21, 53), (53, 65), (89, None)):
        assert files[0][start:stop] != files[1][start:stop]


def test_the_file_shows_neither_factor_nor_passphrase(saved: Path, secret_key: SecretKey) -> None:
    data = saved.read_bytes()
    for factor in (secret_key.crt.p, secret_key.crt.q):
        size = (factor.bit_length() + 7) // 8
        assert factor.to_bytes(size, "big") not in data
        assert factor.to_bytes(size, "little") not in data
    assert PASSPHRASE.encode() not in data


def test_composed_and_decomposed_passphrases_are_one(secret_key: SecretKey, tmp_path: Path) -> None:
    path = tmp_path / "key.hks"
    keystore.save(secret_key, path, "caf\u00e9", allow_insecure=True, insecure_log2_n=1)
    assert keystore.load(path, "cafe\u0301", scheme="paillier", allow_insecure=True).public_key == secret_key.public_key


def test_wrong_passphrase(saved: Path) -> None:
    with pytest.raises(WrongPassphraseError, match="passphrase is wrong or the file was changed") as caught:
        keystore.load(saved, "incorrect horse", allow_insecure=True)
    assert "incorrect horse" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_flip_at_every_offset_is_noticed(saved: Path) -> None:
    original = saved.read_bytes()
    kinds: dict[type[BaseException], int] = {}
    for offset in range(len(original)):
        changed = bytearray(original)
        changed[offset] ^= 1 << (offset % 8)
        saved.write_bytes(changed)
        with pytest.raises((KeystoreError, InsecureParametersError)) as caught:
            keystore.load(saved, PASSPHRASE, allow_insecure=True)
        kinds[caught.type] = kinds.get(caught.type, 0) + 1
        if 21 <= offset < 65 or offset >= HEADER_BYTES:  # salt, nonce, ciphertext, tag
            assert caught.type is WrongPassphraseError
    assert set(kinds) == {KeystoreError, WrongPassphraseError}


def test_every_truncation_and_an_extra_byte_are_refused(saved: Path) -> None:
    original = saved.read_bytes()
    for length in range(len(original)):
        saved.write_bytes(original[:length])
        with pytest.raises(KeystoreError, match="not a hecore keystore|truncated|its header says") as caught:
            keystore.load(saved, PASSPHRASE, allow_insecure=True)
        assert caught.type is KeystoreError  # found without any key derivation
    saved.write_bytes(original + b"\0")
    with pytest.raises(KeystoreError, match="its header says"):
        keystore.load(saved, PASSPHRASE, allow_insecure=True)


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (8, b"\x02"),  # version
        (9, b"\x03"),  # kind
        (10, b"\x02"),  # key derivation
        (11, b"\x02"),  # cipher
        (12, b"\x00"),  # log2 N
        (12, b"\x13"),
        (12, b"\x3f"),
        (13, b"\x7f\xff\xff\xff"),  # r
        (17, b"\x7f\xff\xff\xff"),  # p
        (65, b"\xff\xff\xff\xff"),  # key size
        (85, b"\xff\xff\xff\xff"),  # payload
        (85, b"\x00\x00\x00\x00"),
    ],
)
def test_a_hostile_header_costs_nothing(saved: Path, offset: int, value: bytes) -> None:
    data = bytearray(saved.read_bytes())
    data[offset : offset + len(value)] = value
    saved.write_bytes(data)
    start = time.perf_counter()
    with pytest.raises(KeystoreError) as caught:
        keystore.load(saved, PASSPHRASE, allow_insecure=True)
    assert caught.type is KeystoreError
    assert time.perf_counter() - start < 0.2


def test_a_huge_file_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.write(keystore.MAGIC)
        file.truncate(1 << 40)  # sparse
    with pytest.raises(KeystoreError, match="longer than"):
        keystore.load(path, PASSPHRASE)


def test_a_header_that_names_another_key_is_refused(secret_key: SecretKey, tmp_path: Path) -> None:
    """Only the writer of the passphrase can make such a file; it is refused all the same."""

    class Impostor:
        public_key = generate_insecure_keypair(256)[0]
        to_bytes_unprotected = secret_key.to_bytes_unprotected

    path = tmp_path / "key.hks"
    keystore.save(Impostor(), path, PASSPHRASE, allow_insecure=True, insecure_log2_n=1)  # type: ignore[arg-type]
    with pytest.raises(KeystoreError, match="another key"):
        keystore.load(path, PASSPHRASE, allow_insecure=True)


def test_insecure_keys_and_files_need_the_word(saved: Path, secret_key: SecretKey, tmp_path: Path) -> None:
    with pytest.raises(InsecureParametersError, match="256 bits"):
        keystore.save(secret_key, tmp_path / "small", PASSPHRASE)
    with pytest.raises(InsecureParametersError, match="cheap scrypt"):
        keystore.save(secret_key, tmp_path / "small", PASSPHRASE, insecure_log2_n=1)  # whatever the key
    with pytest.raises(InsecureParametersError, match="256 bits"):
        keystore.load(saved, PASSPHRASE)
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize("log2_n", [0, -1, 19])
def test_save_refuses_scrypt_parameters_that_load_would(secret_key: SecretKey, tmp_path: Path, log2_n: int) -> None:
    with pytest.raises(ParameterError, match="scrypt N"):
        keystore.save(secret_key, tmp_path / "k", PASSPHRASE, allow_insecure=True, insecure_log2_n=log2_n)


@pytest.mark.parametrize("passphrase", ["", b"", "\udcff"])
def test_unusable_passphrases(secret_key: SecretKey, tmp_path: Path, passphrase: str | bytes) -> None:
    with pytest.raises(ParameterError, match="passphrase"):
        keystore.save(secret_key, tmp_path / "k", passphrase, allow_insecure=True)
    assert list(tmp_path.iterdir()) == []


def test_a_passphrase_of_another_type(secret_key: SecretKey, tmp_path: Path) -> None:
    with pytest.raises(OperandTypeError, match="int"):
        keystore.save(secret_key, tmp_path / "k", 1234, allow_insecure=True)  # type: ignore[arg-type]


def test_an_existing_key_is_replaced_only_when_told(saved: Path, secret_key: SecretKey) -> None:
    before = saved.read_bytes()
    with pytest.raises(KeystoreError, match="exists"):
        keystore.save(secret_key, saved, "new", allow_insecure=True, insecure_log2_n=1)
    assert saved.read_bytes() == before
    keystore.save(secret_key, saved, "new", allow_insecure=True, insecure_log2_n=1, overwrite=True)
    assert keystore.load(saved, "new", scheme="paillier", allow_insecure=True).public_key == secret_key.public_key


@pytest.mark.parametrize("hard_links", [True, False])
def test_a_key_that_appears_while_ours_is_written_survives(
    secret_key: SecretKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hard_links: bool
) -> None:
    target, other = tmp_path / "key.hks", tmp_path / "other.hks"
    if not hard_links:

        def link(*_: object) -> None:
            raise PermissionError(errno.EPERM, "no hard links here")

        monkeypatch.setattr(os, "link", link)
    cipher = keystore._cipher

    def slow_cipher(*arguments: Any) -> Any:
        target.write_bytes(b"another process's key")
        return cipher(*arguments)

    keystore.save(secret_key, other, PASSPHRASE, allow_insecure=True, insecure_log2_n=1)
    assert keystore.load(other, PASSPHRASE, allow_insecure=True) == secret_key
    monkeypatch.setattr(keystore, "_cipher", slow_cipher)
    with pytest.raises(KeystoreError, match="exists"):
        keystore.save(secret_key, target, PASSPHRASE, allow_insecure=True, insecure_log2_n=1)
    assert target.read_bytes() == b"another process's key"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["key.hks", "other.hks"]
    assert stat.S_IMODE(other.stat().st_mode) == 0o600


def test_of_many_writers_one_gets_the_name(tmp_path: Path) -> None:
    def write(number: int) -> int | None:
        try:
            keystore.write_atomically(tmp_path / "name", bytes([number]), overwrite=False)
        except KeystoreError:
            return None
        return number

    with ThreadPoolExecutor(8) as threads:
        written = [number for number in threads.map(write, range(32)) if number is not None]
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == [bytes(written)]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_the_old_file_alone(
    saved: Path,
    secret_key: SecretKey,
    monkeypatch: pytest.MonkeyPatch,
    failing: str,
    error: BaseException,
) -> None:
    before = saved.read_bytes()

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, fail)
        with pytest.raises(type(error)):
            keystore.save(secret_key, saved, "new", allow_insecure=True, insecure_log2_n=1, overwrite=True)
    assert saved.read_bytes() == before
    assert [entry.name for entry in saved.parent.iterdir()] == [saved.name]


def test_nothing_is_visible_before_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the moment of the rename the temporary file is complete, in the same folder, and already private."""
    target = tmp_path / "out"
    seen: list[tuple[Path, bytes, int]] = []
    replace = os.replace

    def watch(source: Path, destination: Path) -> None:
        seen.append((source, source.read_bytes(), stat.S_IMODE(source.stat().st_mode)))
        assert not target.exists()
        replace(source, destination)

    monkeypatch.setattr(os, "replace", watch)
    keystore.write_atomically(target, b"whole", mode=0o600)
    ((source, content, mode),) = seen
    assert (source.parent, content, mode) == (tmp_path, b"whole", 0o600)
    assert target.read_bytes() == b"whole"


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_bytes_are_a_bounded_header_or_an_error(data: st.DataObject) -> None:
    """Fuzzes the parser of the unauthenticated header: arbitrary bytes, and arbitrary changes to an honest file."""
    raw = bytearray(HONEST if data.draw(st.booleans()) else keystore.MAGIC + data.draw(st.binary(max_size=200)))
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place] = data.draw(st.integers(0, 255))
    try:
        header = keystore._parse(bytes(raw), Path("fuzzed"))
    except KeystoreError:
        return
    assert 1 <= header.log2_n <= 18
    assert header.payload_bytes == len(raw) - HEADER_BYTES
    assert header.pack() == raw[:HEADER_BYTES]  # no byte of a header that passes is ignored


def test_inspect_needs_no_passphrase(saved: Path, secret_key: SecretKey) -> None:
    info = keystore.inspect(saved)
    assert info.fingerprint == secret_key.public_key.fingerprint
    assert (info.scheme, info.key_bits, info.cipher) == ("paillier", 256, "AES-256-GCM")
    assert info.kdf == "scrypt N=2^1 r=8 p=1"


def test_missing_file_and_foreign_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        keystore.load(tmp_path / "absent", PASSPHRASE)
    (tmp_path / "text").write_text("not a key")
    with pytest.raises(KeystoreError, match="not a hecore keystore"):
        keystore.load(tmp_path / "text", PASSPHRASE)


def test_what_load_refuses_is_not_saved_without_the_word(tmp_path: Path) -> None:
    """Parameters that only the table of 2018 admits, too."""
    with hecore.use("reference"):
        parameters = ckks.Parameters.with_2018_table(ring_degree=1024, moduli_bits=[27], scale=2**10)
        key = ckks.generate_keys(parameters).secret_key
        with pytest.raises(InsecureParametersError, match="2024"):
            keystore.save(key, tmp_path / "key", PASSPHRASE)
        keystore.save(key, tmp_path / "key", PASSPHRASE, allow_insecure=True, insecure_log2_n=1)
        assert keystore.load(tmp_path / "key", PASSPHRASE, scheme="ckks", allow_insecure=True).key_id == key.key_id
