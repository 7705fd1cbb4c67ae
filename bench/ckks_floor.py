"""What CKKS operations need at least: the multiply-adds of their transforms and of their products of residues.

A butterfly of the transform with a precomputed quotient (Harvey, "Faster arithmetic for number-theoretic transforms",
J. Symb. Comp. 2014) takes three multiply-adds of 52 bits: the estimated quotient, and the low halves of two products.
A Montgomery product of residues takes four. Additions, selections, memory, sampling and the encoder's complex
transform are left out, and moduli above 2^50 are counted as if they were below: shares of the peak come out smaller
than they are.

k is the number of data moduli at the top level; one modulus is special; counts are of whole ciphertexts.
"""

from __future__ import annotations

from hecore.bench.ckks_plan import ParameterSet
from hecore.bench.results import Work

BUTTERFLY = 3
PRODUCT = 4


def transforms(ring_degree: int, count: int) -> int:
    """Lanes of multiply-adds of `count` transforms of one residue polynomial each."""
    return count * BUTTERFLY * (ring_degree // 2) * (ring_degree.bit_length() - 1)


def _work(parameters: ParameterSet, count: int, products: int) -> Work:
    return Work(transforms(parameters.ring_degree, count) + products * PRODUCT * parameters.ring_degree)


def encrypt(parameters: ParameterSet) -> Work:
    """u over k+1 moduli, times both halves of the key; division by the special modulus: one back, k forth, twice."""
    k = parameters.levels + 1
    return _work(parameters, 3 * (k + 1), 2 * (k + 1))


def encrypt_symmetric(parameters: ParameterSet) -> Work:
    """Message and error in one transform a modulus, and a*s."""
    k = parameters.levels + 1
    return _work(parameters, k, k)


def decrypt(parameters: ParameterSet) -> Work:
    """c1*s, and back."""
    k = parameters.levels + 1
    return _work(parameters, k, k)


def add_plain(parameters: ParameterSet) -> Work:
    """The encoded operand, transformed."""
    return _work(parameters, parameters.levels + 1, 0)


def multiply_plain(parameters: ParameterSet) -> Work:
    """The encoded operand, two products a modulus, and a rescaling."""
    k = parameters.levels + 1
    return _work(parameters, k + 2 * k, 2 * k)


def rescale(parameters: ParameterSet) -> Work:
    """Two components: the last modulus back, its remainder forth under the others."""
    return _work(parameters, 2 * (parameters.levels + 1), 0)


def key_switch(parameters: ParameterSet) -> Work:
    """One component back; k digits to k other moduli; times both halves of the key; two divisions."""
    k = parameters.levels + 1
    return _work(parameters, k + k * k + 2 * (1 + k), 2 * k * (k + 1))


def multiply(parameters: ParameterSet) -> Work:
    """Four products a modulus, a key switch, and its division joined with the rescaling's."""
    k = parameters.levels + 1
    return _work(parameters, k + k * k + 2 * (2 + k - 1), 4 * k + 2 * k * (k + 1))
