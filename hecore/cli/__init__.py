"""The `hecore` command: devices, tune, keygen, encrypt, decrypt, inspect, demo.

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
from collections.abc import Callable
from typing import Any

import hecore
from hecore.cli import commands
from hecore.cli.files import PASSPHRASE_VARIABLE
from hecore.errors import HecoreError

EPILOG = f"""\
files
  Tables are read and written as .csv (numbers only, comma-separated, no header line, always two axes) or .npy (any
  shape; with Paillier the dtype decides the encoding). Keys come in two files: NAME holds the secret key, encrypted
  under a passphrase (docs/keystore.md), NAME.pub the public key. Key files and encrypted files know their scheme.

passphrases
  are never arguments, which show in the process list and in shell history. They are asked for on the terminal, or
  taken from the first line of the file that --passphrase-file or the variable {PASSPHRASE_VARIABLE} names.

exit codes
  0 done, 1 the request could not be met, 2 wrong usage, 130 interrupted
"""
_BITS = range(2, 61)


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
        prog="hecore",
        description="Homomorphic encryption with Paillier (exact) and CKKS (approximate).",
        epilog=EPILOG,
        formatter_class=form,
    )
    parser.add_argument("--version", action="version", version=f"hecore {hecore.__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def shared(flag: str, text: str, **settings: Any) -> argparse.ArgumentParser:
        parent = argparse.ArgumentParser(add_help=False)
        parent.add_argument(flag, help=text, **settings)
        return parent

    as_json = shared("--json", "print the result as JSON", action="store_true")
    quiet = shared("--quiet", "no progress bar", action="store_true")
    device = shared("--device", "where to compute (see `hecore devices`); default auto", metavar="NAME")
    passphrase = shared("--passphrase-file", "first line is the passphrase; default: ask", metavar="FILE")
    overwrite = shared("--overwrite", "replace files that exist", action="store_true")
    insecure = shared("--insecure", "allow parameters that protect nothing, for tests", action="store_true")
    made = shared("--scheme", "default paillier", choices=(commands.PAILLIER, commands.CKKS))
    found = shared("--scheme", "refuse files of the other one", choices=(commands.PAILLIER, commands.CKKS))

    def command(
        name: str,
        run: Callable[[argparse.Namespace], commands.Result],
        summary: str,
        *options: argparse.ArgumentParser,
    ) -> argparse.ArgumentParser:
        # No abbreviations: --passphrase would stand for --passphrase-file and show the secret as a file name.
        sub = subparsers.add_parser(
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

    command("devices", commands.devices, "List the backends and whether they can run here.")

    text = "Measure which shapes of integers are the fastest on a device, and use them from then on."
    sub = command("tune", commands.tune, text, device)
    sub.add_argument(
        "--key-bits", type=_numbers, default=(2048, 3072), metavar="B,B,…", help="Paillier keys to tune for; 2048,3072"
    )
    sub.add_argument("--budget", type=float, metavar="SECONDS", help="begin no trial after so long; default: try all")
    sub.add_argument("--dry-run", action="store_true", help="measure and tell, but keep nothing")

    text = "Make keys: FILE (secret, under a passphrase) and FILE.pub (public)."
    sub = command("keygen", commands.keygen, text, made, device, passphrase, overwrite, insecure)
    sub.add_argument("file", metavar="FILE")
    sub.add_argument("--key-bits", type=int, default=3072, metavar="BITS", help="Paillier: size of n; default 3072")
    ckks = sub.add_argument_group("CKKS")
    ckks.add_argument("--ring-degree", type=int, default=8192, metavar="N", help="default 8192: 4096 slots")
    ckks.add_argument(
        "--moduli-bits",
        type=_numbers,
        default=(60, 40, 40, 60),
        metavar="B,B,…",
        help="the last one special; 60,40,40,60",
    )
    ckks.add_argument("--scale-bits", type=int, choices=_BITS, default=40, metavar="BITS", help="default 40")
    ckks.add_argument("--rotations", action="store_true", help="Galois keys for rotations and sums: a large public key")

    files = (found, device, passphrase, overwrite, insecure)
    sub = command("encrypt", commands.encrypt, "Encrypt a .csv or .npy table.", *files)
    sub.add_argument("--key", required=True, metavar="FILE", help="public key, or a keystore (faster, asks)")
    encoding = sub.add_mutually_exclusive_group()
    encoding.add_argument(
        "--integers", type=int, metavar="BITS", help="Paillier: exact integers below 2**BITS in magnitude"
    )
    encoding.add_argument(
        "--fixed-point",
        type=int,
        nargs=2,
        metavar=("EXPONENT", "BITS"),
        help="Paillier: multiples of 2**EXPONENT, BITS bits each; without a choice .csv is exact float64",
    )
    encoding.add_argument(
        "--bound", type=float, metavar="X", help="CKKS: declare publicly that no value exceeds X in magnitude"
    )
    sub.add_argument("input", metavar="INPUT", help="table to encrypt, .csv or .npy")
    sub.add_argument("output", metavar="OUTPUT", help="encrypted array to write")

    sub = command("decrypt", commands.decrypt, "Decrypt an array into a .csv or .npy table (mode 0600).", *files)
    sub.add_argument("--key", required=True, metavar="FILE", help="keystore with the secret key")
    sub.add_argument("input", metavar="INPUT", help="encrypted array")
    sub.add_argument("output", metavar="OUTPUT", help="table to write, .csv or .npy")

    text = "Say what a file is; shows no secret and asks no passphrase."
    sub = command("inspect", commands.inspect, text, found, device)
    sub.add_argument("file", metavar="FILE")
    sub.add_argument("--key", metavar="PUBLIC", help="public key of an encrypted array: read and check it too")

    _add_demo(command("demo", commands.demo, DEMO, made, device, overwrite, insecure))
    return parser


DEMO = (
    "Parties that exchange only bytes train a logistic regression. Paillier: two parties with different columns of the "
    "same rows. CKKS: clients with different rows average their models, then rows are scored under encryption."
)


def _add_demo(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--rows", type=int, metavar="N", help="N synthetic rows instead of the breast-cancer data")
    sub.add_argument("--learning-rate", type=float, metavar="RATE", help="default 0.15, with CKKS 0.5")
    sub.add_argument("--seed", type=int, metavar="N", help="of the split, or of the synthetic rows; default 0")
    sub.add_argument("--plot", metavar="PNG", help="write loss and ROC curves")
    paillier = sub.add_argument_group("Paillier")
    paillier.add_argument("--key-bits", type=int, metavar="BITS", help="size of n; default 2048")
    paillier.add_argument("--epochs", type=int, metavar="N", help="passes over the rows; default 8")
    paillier.add_argument("--batch", type=int, metavar="ROWS", help="rows a batch, at least; default 64")
    paillier.add_argument("--features-guest", type=int, metavar="N", help="columns of the guest; default 10")
    paillier.add_argument("--features-host", type=int, metavar="N", help="columns of the host; default 20")
    ckks = sub.add_argument_group("CKKS")
    ckks.add_argument("--ring-degree", type=int, metavar="N", help="default 16384")
    ckks.add_argument("--clients", type=int, metavar="N", help="default 5")
    ckks.add_argument("--rounds", type=int, metavar="N", help="of averaging; default 6")
    ckks.add_argument("--local-steps", type=int, metavar="N", help="of each client in a round; default 5")
    ckks.add_argument("--features", type=int, metavar="N", help="columns of synthetic rows; default 30")


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError("numbers of bits with commas between, as in 60,40,40,60") from None
