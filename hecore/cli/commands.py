"""The commands. Each takes the parsed arguments and gives a result for machines and one for people.

What is a scheme's own is in `cli.paillier` and `cli.ckks`; which of the two is meant, key files and frames say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hecore
from hecore.cli import files
from hecore.cli.progress import Progress
from hecore.errors import ParameterError, SerializationError

if TYPE_CHECKING:
    import argparse
    from types import ModuleType

Result = tuple[dict[str, Any], str]

PAILLIER, CKKS = "paillier", "ckks"


def devices(_: argparse.Namespace) -> Result:
    """The backends of this machine."""
    found = [asdict(device) for device in hecore.devices(ask=True)]
    lines = []
    for device in found:
        state = "available" if device["available"] else f"not available: {device['reason']}"
        simulated = ", simulated: its seconds are no measurement" if device["simulated"] else ""
        lines.append(f"{device['name']:<12} {device['device']} ({state}{simulated})")
    return {"devices": found}, "\n".join(lines)


def tune(arguments: argparse.Namespace) -> Result:
    """The fastest shapes of a device's integers, measured and kept."""
    from hecore import tuning
    from hecore.backends import registry
    from hecore.backends.kernel_backend import KernelBackend

    backend = registry.current()
    if not isinstance(backend, KernelBackend):
        raise ParameterError(
            f"the {backend.name} backend has no shapes to choose from; say --device cuda or --device opencl"
        )
    with Progress(arguments) as progress:
        found = tuning.tune_shapes(backend, arguments.key_bits, budget=arguments.budget, show=progress.show)
    kept = bool(found.chosen) and not arguments.dry_run
    file = str(tuning.save(backend.facts, found.chosen)) if kept else None
    result = {"device": backend.device, "complete": found.complete, "file": file, "trials": found.to_json()}
    ending = f"kept in {file}" if kept else "kept nowhere"
    if not found.complete:
        ending += "; the budget ended before all was tried: what is not decided stays as it was"
    return result, f"{backend.device}\n{found.to_text()}\n{ending}"


def keygen(arguments: argparse.Namespace) -> Result:
    """Keys in two files."""
    for path in (Path(arguments.file), Path(f"{arguments.file}.pub")):
        files.check_output(path, arguments)
    result, text = _scheme(arguments.scheme or PAILLIER).keygen(arguments)
    return {"scheme": arguments.scheme or PAILLIER, **result}, (
        f"secret key  {result['secret_key']} (encrypted under your passphrase; without it the key is lost)\n"
        f"public key  {result['public_key']}\n"
        f"            {text}"
    )


def encrypt(arguments: argparse.Namespace) -> Result:
    """A table to an encrypted file."""
    from hecore import keystore
    from hecore.tables import read_table

    output = Path(arguments.output)
    files.check_output(output, arguments)
    key = files.read_key(arguments)
    values = read_table(Path(arguments.input), integers=arguments.integers is not None)
    scheme = _scheme_of(key, arguments)
    encrypted = scheme.encrypt(arguments, key, values)
    data = encrypted.to_bytes()
    keystore.write_atomically(output, data, overwrite=arguments.overwrite)
    result = {"output": str(output), "bytes": len(data), **scheme.describe(encrypted)}
    return result, f"{output}: {encrypted.size} values of shape {encrypted.shape}, {len(data)} bytes"


def decrypt(arguments: argparse.Namespace) -> Result:
    """An encrypted file to a table."""
    from hecore import keystore
    from hecore.tables import format_table, table_format

    output = Path(arguments.output)
    files.check_output(output, arguments)
    table_format(output)
    data = Path(arguments.input).read_bytes()
    key = files.read_key(arguments)
    values = _scheme_of(key, arguments).decrypt(arguments, key, data)
    keystore.write_atomically(output, format_table(values, output), mode=0o600, overwrite=arguments.overwrite)
    result = {"output": str(output), "shape": list(values.shape), "dtype": str(values.dtype)}
    return result, f"{output}: {values.size} values of shape {values.shape}"


def inspect(arguments: argparse.Namespace) -> Result:
    """What a file is."""
    from hecore import keystore, wire

    path = Path(arguments.file)
    with path.open("rb") as file:
        start = file.read(max(len(keystore.MAGIC), len(wire.MAGIC)))
    result: dict[str, Any]
    if start.startswith(keystore.MAGIC):
        found = asdict(keystore.inspect(path))
        _check_scheme(found["scheme"], arguments, str(path))
        known = {name: value for name, value in found.items() if value is not None}
        result = {"kind": "keystore (secret key, encrypted)", **known}
    elif start.startswith(wire.MAGIC):
        frame = wire.read_frame(path.read_bytes())
        name = CKKS if frame.kind.name.startswith("CKKS_") else PAILLIER
        _check_scheme(name, arguments, str(path))
        result = _scheme(name).inspect(arguments, path, frame)
    else:
        raise SerializationError(f"cannot tell what {path} is: no hecore keystore, key or encrypted array")
    return result, "\n".join(_text_lines(result))


def demo(arguments: argparse.Namespace) -> Result:
    """A protocol between parties that exchange only bytes."""
    from hecore import keystore
    from hecore.demo.plot import load_matplotlib, plot

    if arguments.plot is not None:
        files.check_output(Path(arguments.plot), arguments)
        load_matplotlib()  # found missing before the training rather than after
    name = arguments.scheme or PAILLIER
    _refuse_foreign_options(name, arguments)
    with Progress(arguments) as progress:
        report = _federated(arguments, progress) if name == CKKS else _vertical(arguments, progress)
    if arguments.plot is not None:
        keystore.write_atomically(arguments.plot, plot(report))
    return report.to_json(), report.to_text()


# Which options of `demo` belong to which scheme; the others are everybody's.
DEMO_OPTIONS = {
    PAILLIER: ("key_bits", "epochs", "batch", "features_guest", "features_host"),
    CKKS: ("ring_degree", "clients", "rounds", "local_steps", "features"),
}
_SHARED = ("rows", "learning_rate", "seed", "insecure")


def _vertical(arguments: argparse.Namespace, progress: Progress) -> Any:
    from hecore.demo import logistic
    from hecore.demo.report import Options

    return logistic.run(Options(**_chosen(PAILLIER, arguments)), progress=progress.show)


def _federated(arguments: argparse.Namespace, progress: Progress) -> Any:
    from hecore.demo import federated
    from hecore.demo.federated_report import FederatedOptions

    return federated.run(FederatedOptions(**_chosen(CKKS, arguments)), progress=progress.show)


def _chosen(scheme: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """What was asked for; the rest is left to the protocol's own defaults."""
    given = {name: getattr(arguments, name) for name in (*DEMO_OPTIONS[scheme], *_SHARED)}
    return {name: value for name, value in given.items() if value is not None}


def _refuse_foreign_options(scheme: str, arguments: argparse.Namespace) -> None:
    for other, names in DEMO_OPTIONS.items():
        for name in names:
            if other != scheme and getattr(arguments, name) is not None:
                option = "--" + name.replace("_", "-")
                raise ParameterError(f"cannot use {option} in the demo of {scheme}: it belongs to --scheme {other}")


def _scheme(name: str) -> ModuleType:
    import importlib

    return importlib.import_module(f"hecore.cli.{name}")


def _scheme_of(key: object, arguments: argparse.Namespace) -> ModuleType:
    """The scheme of a key. Raises ParameterError where another was asked for."""
    name = type(key).__module__.split(".")[1]
    _check_scheme(name, arguments, f"the key in {arguments.key}")
    return _scheme(name)


def _check_scheme(name: str, arguments: argparse.Namespace, what: str) -> None:
    if arguments.scheme not in (None, name):
        raise ParameterError(f"cannot use --scheme {arguments.scheme}: {what} is of scheme {name}")


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
