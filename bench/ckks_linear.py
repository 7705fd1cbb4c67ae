"""Rows about whole vectors: sums, dot products, matrix products, a polynomial, a convolution."""

from __future__ import annotations

import math

import numpy as np

from hecore.bench.ckks_peer import TensealPeer
from hecore.bench.ckks_plan import ParameterSet
from hecore.bench.ckks_scheme import operands
from hecore.bench.ckks_workbench import TOLERANCE, CkksBench, Entry, Floats, values
from hecore.bench.contest import Case, NotApplicableError
from hecore.ckks import polynomial

POLYNOMIAL = (0.5, 0.25, 0.0, -0.02, 0.01, 0.3, -0.05, 0.125)
"""Coefficients of degree 0 to 7; the peer takes one level more for a coefficient that is not 1."""
_DEPTH = 4  # levels the peer needs for it
IMAGE, KERNEL, STRIDE = (28, 28), (7, 7), 3


def polynomial_of(a: Floats) -> Floats:
    """POLYNOMIAL at each value."""
    return np.asarray(np.polynomial.polynomial.polyval(a, POLYNOMIAL), dtype=np.float64)


def sum_(bench: CkksBench, parameters: ParameterSet) -> Case:
    """The sum of all slots, in every slot."""
    o = operands(bench, parameters, galois=True)

    def enter(peer: TensealPeer) -> Entry:
        peer.need_galois_keys()
        x = peer.encrypt(o.a)
        return Entry(lambda: x.sum(), lambda result: peer.decrypt(result)[0])

    ours = Entry(bench.finished(lambda: o.x.sum()), o.keys.decrypt)
    return bench.case(ours, np.asarray(o.a.sum()), parameters, enter, calls=_few(bench), tolerance=_wide(o.a))


def dot(bench: CkksBench, parameters: ParameterSet) -> Case:
    """The dot product of two encrypted vectors that fill all slots."""
    o = operands(bench, parameters, galois=True)

    def enter(peer: TensealPeer) -> Entry:
        peer.need_galois_keys()
        x, y = peer.encrypt(o.a), peer.encrypt(o.b)
        return Entry(lambda: x.dot(y), lambda result: peer.decrypt(result)[0])

    ours = Entry(bench.finished(lambda: o.x @ o.y), o.keys.decrypt)
    return bench.case(ours, np.asarray(o.a @ o.b), parameters, enter, calls=_few(bench), tolerance=_wide(o.a))


def dot_plain(bench: CkksBench, parameters: ParameterSet) -> Case:
    """The dot product of an encrypted vector and floats."""
    o = operands(bench, parameters, galois=True)

    def enter(peer: TensealPeer) -> Entry:
        peer.need_galois_keys()
        x, plain = peer.encrypt(o.a), peer.plain(o.b)
        return Entry(lambda: x.dot(plain), lambda result: peer.decrypt(result)[0])

    ours = Entry(bench.finished(lambda: o.x @ o.b), o.keys.decrypt)
    return bench.case(ours, np.asarray(o.a @ o.b), parameters, enter, calls=_few(bench), tolerance=_wide(o.a))


def matvec_128x128(bench: CkksBench, parameters: ParameterSet) -> Case:
    """An encrypted vector of 128 times a plain 128×128 matrix, whose encoding is under the clock on both sides."""
    return _matvec(bench, parameters, 128, 128)


def matvec_784x64(bench: CkksBench, parameters: ParameterSet) -> Case:
    """An encrypted vector of 784 times a plain 784×64 matrix: the first layer of a small network."""
    return _matvec(bench, parameters, 784, 64)


def _matvec(bench: CkksBench, parameters: ParameterSet, inputs: int, outputs: int) -> Case:
    keys = bench.keys(parameters, galois=True)
    if parameters.slots < inputs:
        raise NotApplicableError(f"a vector of {inputs} does not fit {parameters.slots} slots")
    a, matrix = values(inputs, seed=20), values((inputs, outputs), seed=21) / np.sqrt(inputs)
    x = keys.encrypt(a)

    def enter(peer: TensealPeer) -> Entry:
        peer.need_galois_keys()
        theirs, plain = peer.encrypt(a), peer.plain(matrix)
        return Entry(lambda: theirs.mm(plain), peer.decrypt)

    ours = Entry(bench.finished(lambda: x @ matrix), keys.decrypt)
    return bench.case(ours, a @ matrix, parameters, enter, item="product", setup=keys.seconds)


def polynomial_7(bench: CkksBench, parameters: ParameterSet) -> Case:
    """A polynomial of degree 7 at every slot."""
    if parameters.levels < _DEPTH:
        raise NotApplicableError(
            f"a polynomial of degree 7 takes the peer {_DEPTH} levels, there are {parameters.levels}"
        )
    o = operands(bench, parameters)

    def enter(peer: TensealPeer) -> Entry:
        x = peer.encrypt(o.a)
        return Entry(lambda: x.polyval(list(POLYNOMIAL)), peer.decrypt)

    ours = Entry(bench.finished(lambda: polynomial.evaluate(o.x, POLYNOMIAL)), o.keys.decrypt)
    return bench.case(ours, polynomial_of(o.a), parameters, enter, calls=_few(bench))


def convolution(bench: CkksBench, parameters: ParameterSet) -> Case:
    """A 7×7 kernel at stride 3 over a 28×28 image whose windows are the columns of one ciphertext (im2col)."""
    keys = bench.keys(parameters, galois=True)
    image, kernel = values(IMAGE, seed=22), values(KERNEL, seed=23) / 7
    windows = np.lib.stride_tricks.sliding_window_view(image, KERNEL)[::STRIDE, ::STRIDE]
    columns = windows.reshape(-1, kernel.size).T  # a row of all windows for each place in the kernel
    padded = np.zeros((1 << (kernel.size - 1).bit_length(), columns.shape[1]))
    padded[: kernel.size] = columns
    if padded.size > parameters.slots:
        raise NotApplicableError(f"the image's {padded.size} window values do not fit {parameters.slots} slots")
    x = keys.encrypt(padded)
    weights = np.zeros(len(padded))
    weights[: kernel.size] = kernel.ravel()

    def enter(peer: TensealPeer) -> Entry:
        peer.need_galois_keys()
        vector, count = peer.image_columns(image, kernel, STRIDE)
        rows = kernel.tolist()
        return Entry(lambda: vector.conv2d_im2col(rows, count), peer.decrypt)

    ours = Entry(bench.finished(lambda: (x * weights[:, None]).sum(axis=0)), keys.decrypt)
    return bench.case(ours, kernel.ravel() @ columns, parameters, enter, item="convolution", calls=_few(bench))


def _few(bench: CkksBench) -> int:
    """These take some ten milliseconds each."""
    return max(1, bench.plan.few_calls // 4)


def _wide(a: Floats) -> float:
    """A sum of n values may be off by what n values are off."""
    return TOLERANCE * math.sqrt(a.size)
