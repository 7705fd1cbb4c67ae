"""Tables of plain numbers as files: .csv (numbers only, no header line) and .npy. Neither can carry code."""

from __future__ import annotations

import csv
import io
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from hecore.errors import HecoreError, OperandTypeError, ParameterError, SerializationError, ShapeError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_NPY_START_BYTES = 1 << 14  # NumPy's reader takes headers of up to 10000 bytes
_NPY_SHAPE = rb"\((?:\d{1,18}(?:, ?|(?=\)))){0,32}\)"
_NPY_ITEM = rb"'(?:descr': '[<>|=][biufcSUV]\d{1,5}'|fortran_order': (?:True|False)|shape': " + _NPY_SHAPE + rb")"
_NPY_HEADER = re.compile(rb"\{(?:" + _NPY_ITEM + rb"(?:, ?|(?=\}))){3}\} *\n?")


def table_format(path: Path) -> str:
    """The suffix, ".csv" or ".npy"; ParameterError for any other."""
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".npy"):
        raise ParameterError(f"cannot tell the format of {path}: a name in .csv or .npy is needed")
    return suffix


def read_table(path: Path, *, integers: bool) -> NDArray[Any]:
    """The numbers of a file: .csv gives float64, or Python integers of any size where `integers` is set.

    Raises SerializationError for what is no table of numbers, ShapeError for lines of different lengths, OSError.
    """
    if table_format(path) == ".npy":
        return _read_npy(path)
    rows: list[list[int | float]] = []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        try:
            for fields in reader:
                if fields:
                    rows.append([int(value) if integers else float(value) for value in fields])
                if fields and len(fields) != len(rows[0]):
                    raise ShapeError(
                        f"cannot read {path}: line {reader.line_num} has {len(fields)} fields, the first {len(rows[0])}"
                    )
        except (UnicodeDecodeError, csv.Error):
            raise SerializationError(f"cannot read {path}: it is no comma-separated text") from None
        except (ValueError, OverflowError) as error:
            if isinstance(error, HecoreError):
                raise
            kind = "an integer" if integers else "a number"
            raise SerializationError(f"cannot read {path}: line {reader.line_num} holds what is not {kind}") from None
    if not rows:
        raise SerializationError(f"cannot read {path}: it holds no numbers")
    return np.array(rows, dtype=object if integers else np.float64)


def _read_npy(path: Path) -> NDArray[Any]:
    """As NumPy's reader, which evaluates any header and allocates what it announces: so both are looked at first."""
    try:
        with path.open("rb") as file:  # not np.load: that would also open archives and pickles
            start = file.read(_NPY_START_BYTES)
            first, read_header = (
                (12, np.lib.format.read_array_header_2_0)
                if start[6:7] == b"\2"
                else (10, np.lib.format.read_array_header_1_0)
            )
            stop = first + int.from_bytes(start[8:first], "little")
            if stop > len(start) or not _NPY_HEADER.fullmatch(start, first, stop):
                raise ValueError
            header = io.BytesIO(start)
            np.lib.format.read_magic(header)
            shape, _, dtype = read_header(header)
            if not 0 < dtype.itemsize * max(1, math.prod(shape)) <= path.stat().st_size - stop:
                raise ValueError
            file.seek(0)
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
    except (ValueError, SyntaxError):
        raise SerializationError(f"cannot read {path}: it is no .npy file of plain numbers") from None


def format_table(values: NDArray[Any], path: Path) -> bytes:
    """What a file of that name should hold; reading it back gives the same numbers.

    Raises OperandTypeError for big integers in .npy, ShapeError for more than two axes in .csv.
    """
    if table_format(path) == ".npy":
        if values.dtype == object:
            raise OperandTypeError(f"cannot write {path}: .npy holds no integers beyond int64; write .csv")
        buffer = io.BytesIO()
        np.save(buffer, values, allow_pickle=False)
        return buffer.getvalue()
    if values.ndim > 2:
        raise ShapeError(f"cannot write {path}: .csv holds two axes, the array has shape {values.shape}; write .npy")
    text = io.StringIO()
    rows = values.reshape(-1, 1) if values.ndim < 2 else values
    csv.writer(text, lineterminator="\n").writerows(rows.tolist())  # a float's repr reads back as the same float
    return text.getvalue().encode()
