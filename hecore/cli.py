"""The `hecore` command: devices, keygen, encrypt, decrypt, inspect, demo.

Results go to standard output (`--json` for machines), progress and errors to standard error; progress shows on a
terminal only. Exit codes: 0 done, 1 the request could not be met (one line says why), 2 the command line makes no
sense, 130 interrupted. Files are written whole or not at all.

The passphrase is never an argument: arguments are visible in the process list, in shell history and in CI logs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, assert_never

import hecore
from hecore.errors import HecoreError, OperandTypeError, ParameterError, SerializationError

if TYPE_CHECKING:
    from hecore.paillier import EncryptedArray, PackedArray, PublicKey, SecretKey

PASSPHRASE_VARIABLE = "HECORE_PASSPHRASE_FILE"  # noqa: S105  (a name, no passphrase)
_LONGEST_PASSPHRASE = 1 << 12
_LARGEST_KEY_FILE = 1 << 16
_DECRYPT_CHUNK = 4096

EPILOG = f"""\
files
  Tables are read and written as .csv (numbers only, comma-separated, no header line, always two axes) or .npy (any
  shape; the dtype decides the encoding). Keys come in two files: NAME holds the secret key, encrypted under a
  passphrase (docs/keystore.md), NAME.pub the public key.

passphrases
  are never arguments, which show in the process list and in shell history. They are asked for on the terminal, or
  taken from the first line of the file that --passphrase-file or the variable {PASSPHRASE_VARIABLE} names.

exit codes
  0 done, 1 the request could not be met, 2 wrong usage, 130 interrupted
"""


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code; prints, never raises for a user's error."""
    parser = _parser()
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as stop:  # argparse has printed help or the usage error
        return int(stop.code or 0)
    try:
        name = getattr(arguments, "device", None)  # not every command computes
        with hecore.use(name) if name is not None else contextlib.nullcontext():
            result, text = arguments.run(arguments)
        print(json.dumps(result, indent=2) if arguments.json else text, flush=True)
    except BrokenPipeError:
        # Whoever read our output has gone; keep the interpreter from failing once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (HecoreError, OSError) as error:
        print(f"hecore: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("hecore: interrupted", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="hecore", description="Homomorphic encryption with Paillier.", epilog=EPILOG, formatter_class=form
    )
    parser.add_argument("--version", action="version", version=f"hecore {hecore.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def shared(flag: str, text: str, **settings: Any) -> argparse.ArgumentParser:
        parent = argparse.ArgumentParser(add_help=False)
        parent.add_argument(flag, help=text, **settings)
        return parent

    as_json = shared("--json", "print the result as JSON", action="store_true")
    quiet = shared("--quiet", "no progress bar", action="store_true")
    device = shared("--device", "where to compute (see `hecore devices`); default auto", metavar="NAME")
    passphrase = shared("--passphrase-file", "first line is the passphrase; default: ask", metavar="FILE")
    overwrite = shared("--overwrite", "replace files that exist", action="store_true")
    insecure = shared("--insecure", "allow keys below 2048 bits, which protect nothing", action="store_true")

    def command(
        name: str,
        run: Callable[[argparse.Namespace], Result],
        summary: str,
        *options: argparse.ArgumentParser,
    ) -> argparse.ArgumentParser:
        # No abbreviations: --passphrase would stand for --passphrase-file and show the secret as a file name.
        sub = commands.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=EPILOG,
            formatter_class=form,
            allow_abbrev=False,
            parents=[*options, as_json, quiet],
        )
        sub.set_defaults(run=run)
        return sub

    command("devices", _devices, "List the backends and whether they can run here.")

    sub = command(
        "keygen",
        _keygen,
        "Make a key pair: FILE (secret, under a passphrase) and FILE.pub (public).",
        passphrase,
        overwrite,
        insecure,
    )
    sub.add_argument("file", metavar="FILE")
    sub.add_argument("--key-bits", type=int, default=3072, metavar="BITS", help="size of n; default 3072")

    files = (device, passphrase, overwrite, insecure)
    sub = command("encrypt", _encrypt, "Encrypt a .csv or .npy table.", *files)
    sub.add_argument("--key", required=True, metavar="FILE", help="public key, or a keystore (faster, asks)")
    encoding = sub.add_mutually_exclusive_group()
    encoding.add_argument("--integers", type=int, metavar="BITS", help="exact integers below 2**BITS in magnitude")
    encoding.add_argument(
        "--fixed-point",
        type=int,
        nargs=2,
        metavar=("EXPONENT", "BITS"),
        help="round to multiples of 2**EXPONENT, BITS bits each; without a choice .csv is exact float64",
    )
    sub.add_argument("input", metavar="INPUT", help="table to encrypt, .csv or .npy")
    sub.add_argument("output", metavar="OUTPUT", help="encrypted array to write")

    sub = command("decrypt", _decrypt, "Decrypt an array into a .csv or .npy table (mode 0600).", *files)
    sub.add_argument("--key", required=True, metavar="FILE", help="keystore with the secret key")
    sub.add_argument("input", metavar="INPUT", help="encrypted array")
    sub.add_argument("output", metavar="OUTPUT", help="table to write, .csv or .npy")

    sub = command("inspect", _inspect, "Say what a file is; shows no secret and asks no passphrase.", device)
    sub.add_argument("file", metavar="FILE")
    sub.add_argument("--key", metavar="PUBLIC", help="public key of an encrypted array: read and check it too")

    sub = command(
        "demo",
        _demo,
        "Two parties train one logistic regression on data that neither shows the other.",
        device,
        overwrite,
        insecure,
    )
    sub.add_argument("--key-bits", type=int, default=2048, metavar="BITS", help="size of n; default 2048")
    sub.add_argument("--rows", type=int, metavar="N", help="N synthetic rows instead of the breast-cancer data")
    sub.add_argument("--epochs", type=int, default=8, metavar="N", help="passes over the rows; default 8")
    sub.add_argument("--batch", type=int, default=64, metavar="ROWS", help="rows a batch, at least; default 64")
    sub.add_argument("--features-guest", type=int, default=10, metavar="N", help="columns of the guest; default 10")
    sub.add_argument("--features-host", type=int, default=20, metavar="N", help="columns of the host; default 20")
    sub.add_argument("--learning-rate", type=float, default=0.15, metavar="RATE", help="default 0.15")
    sub.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the split, or of the synthetic rows; default 0"
    )
    sub.add_argument("--plot", metavar="PNG", help="write loss and ROC curves")
    return parser


Result = tuple[dict[str, Any], str]


# -- commands ----------------------------------------------------------------------------------------------


def _devices(_: argparse.Namespace) -> Result:
    found = [asdict(device) for device in hecore.devices()]
    lines = []
    for device in found:
        state = "available" if device["available"] else f"not available: {device['reason']}"
        simulated = ", simulated: its seconds are no measurement" if device["simulated"] else ""
        lines.append(f"{device['name']:<12} {device['device']} ({state}{simulated})")
    return {"devices": found}, "\n".join(lines)


def _keygen(arguments: argparse.Namespace) -> Result:
    from hecore import keystore, paillier
    from hecore.paillier import params

    secret_path, public_path = Path(arguments.file), Path(f"{arguments.file}.pub")
    for path in (secret_path, public_path):
        _check_output(path, arguments)
    # The passphrase comes first, so that nobody waits for primes in vain.
    if arguments.insecure:
        generate, check = paillier.generate_insecure_keypair, params.check_key_size
    else:
        generate, check = paillier.generate_keypair, params.check_key_bits
    check(arguments.key_bits)
    passphrase = _passphrase(arguments, f"New passphrase for {secret_path}: ", confirm=True)
    public_key, secret_key = generate(arguments.key_bits)
    keystore.save(secret_key, secret_path, passphrase, overwrite=arguments.overwrite, allow_insecure=arguments.insecure)
    keystore.write_atomically(public_path, public_key.to_bytes(), overwrite=arguments.overwrite)
    result = {
        "secret_key": str(secret_path),
        "public_key": str(public_path),
        "key_bits": public_key.key_bits,
        "fingerprint": public_key.fingerprint,
    }
    return result, (
        f"secret key  {secret_path} (encrypted under your passphrase; without it the key is lost)\n"
        f"public key  {public_path}\n"
        f"            {public_key.key_bits} bits, fingerprint {public_key.fingerprint}"
    )


def _encrypt(arguments: argparse.Namespace) -> Result:
    from hecore import keystore, paillier
    from hecore.tables import read_table

    output = Path(arguments.output)
    _check_output(output, arguments)
    key = _key(arguments)
    values = read_table(Path(arguments.input), integers=arguments.integers is not None)
    encoding: paillier.Integers | paillier.FixedPoint | None = None
    if arguments.integers is not None:
        encoding = paillier.Integers(bits=arguments.integers)
    elif arguments.fixed_point is not None:
        encoding = paillier.FixedPoint(arguments.fixed_point[0], bits=arguments.fixed_point[1])
    with _Progress(arguments) as progress:
        encrypted = key.encrypt(
            values, encoding=encoding, progress=lambda done: progress.show("encrypting", done, values.size)
        )
    data = encrypted.to_bytes()
    keystore.write_atomically(output, data, overwrite=arguments.overwrite)
    result = {"output": str(output), "bytes": len(data), **_describe_array(encrypted)}
    return result, f"{output}: {encrypted.size} values of shape {encrypted.shape}, {len(data)} bytes"


def _decrypt(arguments: argparse.Namespace) -> Result:
    import numpy as np

    from hecore import keystore, paillier
    from hecore.tables import format_table, table_format

    output = Path(arguments.output)
    _check_output(output, arguments)
    table_format(output)
    data = Path(arguments.input).read_bytes()
    secret_key = _key(arguments)
    if not isinstance(secret_key, paillier.SecretKey):
        raise OperandTypeError(f"cannot decrypt with {arguments.key}: it is a public key, the keystore is needed")
    array = _read_array(data, secret_key.public_key)
    with _Progress(arguments) as progress:
        if isinstance(array, paillier.PackedArray):
            values = secret_key.decrypt(array)
        else:
            flat, parts = array.reshape(-1), []
            for start in range(0, array.size, _DECRYPT_CHUNK):
                parts.append(secret_key.decrypt(flat[start : start + _DECRYPT_CHUNK]))
                progress.show("decrypting", min(start + _DECRYPT_CHUNK, array.size), array.size)
            values = np.concatenate(parts).reshape(array.shape)
    keystore.write_atomically(output, format_table(values, output), mode=0o600, overwrite=arguments.overwrite)
    result = {"output": str(output), "shape": list(values.shape), "dtype": str(values.dtype)}
    return result, f"{output}: {values.size} values of shape {values.shape}"


def _inspect(arguments: argparse.Namespace) -> Result:
    from hecore import keystore, wire
    from hecore.paillier import PublicKey

    path = Path(arguments.file)
    with path.open("rb") as file:
        start = file.read(max(len(keystore.MAGIC), wire.HEADER_BYTES))
    result: dict[str, Any]
    if start.startswith(keystore.MAGIC):
        result = {"kind": "keystore (secret key, encrypted)", **asdict(keystore.inspect(path))}
    elif start.startswith(wire.MAGIC):
        data = path.read_bytes()
        frame = wire.read_frame(data)
        if frame.kind is wire.Kind.PUBLIC_KEY:
            key = PublicKey.from_bytes(data, allow_insecure=True, allow_short_randomness=True)
            report = key.validate()
            result = {
                "kind": "public key",
                "key_bits": key.key_bits,
                "fingerprint": key.fingerprint,
                "randomness_bits": key.randomness_bits,
                "checks": {check.requirement: check.passed for check in report.checks},
                "not_checked": list(report.not_checked),
            }
        elif frame.kind is wire.Kind.ENCRYPTED_ARRAY or frame.kind is wire.Kind.PACKED_ARRAY:
            packed = ", packed" if frame.kind is wire.Kind.PACKED_ARRAY else ""
            result = {"kind": f"encrypted array{packed}", "fingerprint": frame.fingerprint, "bytes": len(data)}
            if arguments.key is not None:
                with Path(arguments.key).open("rb") as file:
                    public_key = PublicKey.from_bytes(
                        file.read(_LARGEST_KEY_FILE), allow_insecure=True, allow_short_randomness=True
                    )
                result |= _describe_array(_read_array(data, public_key))
        elif frame.kind is wire.Kind.SECRET_KEY_UNPROTECTED:
            warning = "SECRET KEY WITHOUT PROTECTION: encrypt it with hecore.keystore and destroy this file"
            result = {"kind": warning, "fingerprint": frame.fingerprint}
        else:
            assert_never(frame.kind)
    else:
        raise SerializationError(f"cannot tell what {path} is: no hecore keystore, key or encrypted array")
    return result, "\n".join(_text_lines(result))


def _demo(arguments: argparse.Namespace) -> Result:
    from hecore import keystore
    from hecore.demo import logistic
    from hecore.demo.plot import load_matplotlib, plot
    from hecore.demo.report import Options

    if arguments.plot is not None:
        _check_output(Path(arguments.plot), arguments)
        load_matplotlib()  # found missing before the training rather than after
    options = Options(
        key_bits=arguments.key_bits,
        insecure=arguments.insecure,
        rows=arguments.rows,
        epochs=arguments.epochs,
        batch=arguments.batch,
        features_guest=arguments.features_guest,
        features_host=arguments.features_host,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
    )
    with _Progress(arguments) as progress:
        report = logistic.run(options, progress=progress.show)
    if arguments.plot is not None:
        keystore.write_atomically(arguments.plot, plot(report))
    return report.to_json(), report.to_text()


# -- files and passphrases ---------------------------------------------------------------------------------


def _check_output(path: Path, arguments: argparse.Namespace) -> None:
    if os.path.lexists(path) and not arguments.overwrite:
        raise ParameterError(f"cannot write {path}: the file exists; --overwrite replaces it")
    if not path.parent.is_dir():
        raise ParameterError(f"cannot write {path}: there is no folder {path.parent}")


def _key(arguments: argparse.Namespace) -> PublicKey | SecretKey:
    """The key in the file `--key` names: a public key, or the secret key of a keystore."""
    from hecore import keystore
    from hecore.paillier import PublicKey

    path = Path(arguments.key)
    with path.open("rb") as file:
        data = file.read(_LARGEST_KEY_FILE)
    if data.startswith(keystore.MAGIC):
        keystore.inspect(path)  # a damaged header is reported before anybody types a passphrase
        passphrase = _passphrase(arguments, f"Passphrase for {path}: ", confirm=False)
        return keystore.load(path, passphrase, allow_insecure=arguments.insecure)
    try:
        return PublicKey.from_bytes(data, allow_insecure=arguments.insecure)
    except SerializationError as error:
        raise SerializationError(f"cannot read {path} as a key: {error}") from None


def _passphrase(arguments: argparse.Namespace, prompt: str, *, confirm: bool) -> str | bytes:
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
        passphrase = getpass(prompt)
        if confirm and getpass("Once more: ") != passphrase:
            raise ParameterError("cannot use the passphrase: the two are not the same")
    except EOFError:
        raise ParameterError("cannot go on without a passphrase") from None
    return passphrase


def _read_array(data: bytes, public_key: PublicKey) -> EncryptedArray | PackedArray:
    from hecore import wire
    from hecore.paillier import EncryptedArray, PackedArray

    packed = wire.read_frame(data).kind is wire.Kind.PACKED_ARRAY
    return PackedArray.from_bytes(data, public_key) if packed else EncryptedArray.from_bytes(data, public_key)


def _describe_array(array: EncryptedArray | PackedArray) -> dict[str, Any]:
    return {
        "shape": list(array.shape),
        "encoding": array.encoding.kind,
        "headroom_bits": array.headroom_bits,
        "key_bits": array.public_key.key_bits,
        "fingerprint": array.public_key.fingerprint,
    }


def _text_lines(result: dict[str, Any]) -> Iterator[str]:
    for name, value in result.items():
        label = name.replace("_", " ")
        if isinstance(value, dict):
            for requirement, passed in value.items():
                yield f"{'ok' if passed else 'FAILED':<17} {requirement}"
        elif isinstance(value, list) and value and isinstance(value[0], str):
            yield from (f"{label:<17} {entry}" for entry in value)
        else:
            yield f"{label:<17} {value}"


# -- progress ---------------------------------------------------------------------------------------------


class _Progress:
    """One bar on a terminal's standard error, redrawn ten times a second and wiped at the end; else silent."""

    def __init__(self, arguments: argparse.Namespace, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._active = not arguments.quiet and self._stream.isatty()
        self._drawn = 0.0
        self._what = ""
        self._start = time.monotonic()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def show(self, what: str, done: int, total: int) -> None:
        """`done` of `total` steps of `what` are behind us."""
        now = time.monotonic()
        if what != self._what:
            if self._what:
                self._start = now
            self._what = what
        if not self._active or (now - self._drawn < 0.1 and done < total):
            return
        self._drawn = now
        filled = 30 * done // total
        left = (now - self._start) * (total - done) / done if done else 0.0
        self._stream.write(f"\r\x1b[K{what} [{'#' * filled}{'.' * (30 - filled)}] {done}/{total}, {left:.0f} s left")
        self._stream.flush()
