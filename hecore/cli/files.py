"""Files that commands read and write, and where a passphrase comes from."""

from __future__ import annotations

import os
import sys
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING

from hecore.errors import ParameterError, SerializationError

if TYPE_CHECKING:
    import argparse

    from hecore import ckks, paillier

    Key = paillier.PublicKey | paillier.SecretKey | ckks.PublicKey | ckks.SecretKey

PASSPHRASE_VARIABLE = "HECORE_PASSPHRASE_FILE"  # noqa: S105  (a name, no passphrase)
_LONGEST_PASSPHRASE = 1 << 12
_LARGEST_KEY_FILE = 1 << 32  # CKKS keys for all rotations at the largest parameters; the frame's length is checked


def check_output(path: Path, arguments: argparse.Namespace) -> None:
    """Refuse what would overwrite unasked, or has no folder."""
    if os.path.lexists(path) and not arguments.overwrite:
        raise ParameterError(f"cannot write {path}: the file exists; --overwrite replaces it")
    if not path.parent.is_dir():
        raise ParameterError(f"cannot write {path}: there is no folder {path.parent}")


def read_key(arguments: argparse.Namespace) -> Key:
    """The key in the file `--key` names: a public key, or the secret key of a keystore, of either scheme."""
    from hecore import keystore

    path = Path(arguments.key)
    with path.open("rb") as file:
        start = file.read(len(keystore.MAGIC))
    if start == keystore.MAGIC:
        keystore.inspect(path)  # a damaged header is reported before anybody types a passphrase
        secret = passphrase(arguments, f"Passphrase for {path}: ", confirm=False)
        return keystore.load(path, secret, allow_insecure=arguments.insecure)
    try:
        return public_key(path, allow_insecure=arguments.insecure)
    except SerializationError as error:
        raise SerializationError(f"cannot read {path} as a key: {error}") from None


def public_key(
    path: Path, *, allow_insecure: bool, allow_short_randomness: bool = False
) -> paillier.PublicKey | ckks.PublicKey:
    """The public key in a file, of either scheme. Raises SerializationError, InsecureParametersError."""
    from hecore import wire

    if path.stat().st_size > _LARGEST_KEY_FILE:
        raise SerializationError(f"{path.stat().st_size} bytes are too many for a key")
    data = path.read_bytes()
    if wire.read_frame(data).kind is wire.Kind.CKKS_PUBLIC_KEY:
        from hecore import ckks

        return ckks.PublicKey.from_bytes(data, allow_insecure=allow_insecure)
    from hecore import paillier

    return paillier.PublicKey.from_bytes(
        data, allow_insecure=allow_insecure, allow_short_randomness=allow_short_randomness
    )


def passphrase(arguments: argparse.Namespace, prompt: str, *, confirm: bool) -> str | bytes:
    """From the file that an option or a variable names, else from the terminal; never from the command line."""
    source = arguments.passphrase_file or os.environ.get(PASSPHRASE_VARIABLE)
    if source:
        with open(source, "rb") as file:
            line = file.readline(_LONGEST_PASSPHRASE + 1).rstrip(b"\r\n")
        if not line:
            raise ParameterError(f"cannot use the passphrase in {source}: its first line is empty")
        if len(line) > _LONGEST_PASSPHRASE:
            raise ParameterError(f"cannot use the passphrase in {source}: longer than {_LONGEST_PASSPHRASE} bytes")
        try:
            return line.decode()  # as text, so that it is the passphrase that a prompt would give
        except UnicodeDecodeError:
            return line
    if not sys.stdin.isatty():
        raise ParameterError(
            "cannot ask for the passphrase: standard input is no terminal; put it in a file that "
            f"--passphrase-file or {PASSPHRASE_VARIABLE} names"
        )
    try:
        given = getpass(prompt)
        if confirm and getpass("Once more: ") != given:
            raise ParameterError("cannot use the passphrase: the two are not the same")
    except EOFError:
        raise ParameterError("cannot go on without a passphrase") from None
    return given
