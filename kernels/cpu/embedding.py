"""The passes around the Fourier transform of the CKKS encoder, each once over its data, in doubles.

They see plaintexts; their operations do not depend on the values.
"""

from __future__ import annotations

import numpy as np

from hecore.kernels.cpu.cache import kernel

_TWO_64 = 18446744073709551616.0


@kernel
def place_real(spectrum, values, places):
    """spectrum[i, places[j]] = values[i, j] for real values; float64 (m, n), (m, at most n)."""
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            spectrum[i, places[j]] = values[i, j]


@kernel
def place_complex(spectrum, values, places, signs):
    """The same for complex values, conjugated where the sign is -1."""
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            z = values[i, j]
            spectrum[i, places[j]] = complex(z.real, z.imag * signs[j])


@kernel
def rounded_product(out, spectrum, twist, factor):
    """out (m, 2n) = real, then imaginary parts of factor * conj(twist) * spectrum (m, n), to integers; the largest.

    Of a real sequence's spectrum the first n/2 + 1 entries are enough: the others are the conjugates, backwards.
    """
    n, given = twist.size, spectrum.shape[1]
    largest = 0.0
    for i in range(spectrum.shape[0]):
        for t in range(given):
            z, w = spectrum[i, t], twist[t]
            x = np.rint(factor * (z.real * w.real + z.imag * w.imag))
            y = np.rint(factor * (z.imag * w.real - z.real * w.imag))
            out[i, t] = x
            out[i, n + t] = y
            largest = max(largest, max(abs(x), abs(y)))
        for t in range(given, n):
            z, w = spectrum[i, n - t], twist[t]
            x = np.rint(factor * (z.real * w.real - z.imag * w.imag))
            y = np.rint(factor * (-z.imag * w.real - z.real * w.imag))
            out[i, t] = x
            out[i, n + t] = y
            largest = max(largest, max(abs(x), abs(y)))
    return largest


@kernel
def turned(out, magnitudes, negative, twist, factor):
    """out[i, t] = factor * twist[t] * (x_t + i*x_(t+n)) for the signed integers x: limbs (m, 2n, L), signs (m, 2n)."""
    n = twist.size
    last = magnitudes.shape[2] - 1
    for i in range(out.shape[0]):
        for t in range(n):
            x = np.float64(magnitudes[i, t, last])
            y = np.float64(magnitudes[i, n + t, last])
            for k in range(last - 1, -1, -1):
                x = x * _TWO_64 + np.float64(magnitudes[i, t, k])
                y = y * _TWO_64 + np.float64(magnitudes[i, n + t, k])
            x *= -factor if negative[i, t] else factor
            y *= -factor if negative[i, n + t] else factor
            w = twist[t]
            out[i, t] = complex(x * w.real - y * w.imag, x * w.imag + y * w.real)


@kernel
def picked(out, spectrum, places, signs):
    """out[i, j] = spectrum[i, places[j]], conjugated where the sign is -1; complex128 (m, n)."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            z = spectrum[i, places[j]]
            out[i, j] = complex(z.real, z.imag * signs[j])
