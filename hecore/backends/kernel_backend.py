"""Every OpenCL or CUDA device as a backend: written once over the six methods of `Device`.

Residues stay on the device: between `upload` and `download` the host sees a product to invert or to take a gcd of, and
nothing else. Operations that the protocol calls constant time run kernels without branches or addresses that depend on
what buffers hold, and read tables whole.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hecore.arith.limbs import limbs_for_bits
from hecore.backends import checks
from hecore.backends.kernel_integers import table_window
from hecore.backends.kernel_multi import KernelMulti
from hecore.backends.kernel_ring import KernelRing
from hecore.backends.protocol import SATURATING_BATCH, DeviceExponents, ExponentArray, FixedBaseTable, ResidueArray

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from hecore.arith.modulus import CrtModulus, Modulus
    from hecore.backends.device import Buffer, DeviceFacts
    from hecore.backends.kernel_integers import Exponents
    from hecore.backends.kernel_shapes import Geometry
    from hecore.backends.protocol import Indices, Limbs

LANES_OF_A_RESIDUE = 4  # under keys of common lengths, where a device has lanes that work together


class KernelBackend(KernelMulti, KernelRing):
    """`Backend` over the device kernels.

    `ResidueArray.data` is a buffer of elements, `FixedBaseTable.data` such a buffer and the table's window.
    """

    simulated = False

    @property
    def saturating_batch(self) -> int:
        """See `protocol.saturating_batch`."""
        facts = self._device.facts
        return max(SATURATING_BATCH, facts.parallel // min(facts.lanes, LANES_OF_A_RESIDUE))

    @property
    def facts(self) -> DeviceFacts:
        """What is known of the device."""
        return self._device.facts

    def with_shapes(self, shapes: Sequence[Geometry]) -> KernelBackend:
        """Another backend on the same device, its integers in these shapes, the shortest first."""
        other = KernelBackend(self._device, self._budget, shapes)
        other.name = self.name
        return other

    # -- transport ---------------------------------------------------------------------------------------

    def upload(self, limbs: Limbs, modulus: Modulus) -> ResidueArray:
        shape = checks.check_host_limbs(limbs, modulus)
        return self._array(self._upload(self._context(modulus), limbs.reshape(-1, modulus.limbs)), modulus, shape)

    def download(self, a: ResidueArray) -> Limbs:
        checks.check_owned(self, a)
        limbs = self._download(self._context(a.modulus), a.data, a.size)
        return limbs.reshape(*a.shape, a.modulus.limbs)

    def take(self, a: ResidueArray, indices: Indices) -> ResidueArray:
        checks.check_owned(self, a)
        checks.check_indices(a, indices)
        return self._array(self._gathered(self._context(a.modulus), a.data, indices), a.modulus, indices.shape)

    def concatenate(self, arrays: Sequence[ResidueArray]) -> ResidueArray:
        checks.check_concatenate(self, arrays)
        return self.collect(arrays, sum(a.size for a in arrays))

    def collect(self, chunks: Iterable[ResidueArray], size: int) -> ResidueArray:
        rows: Buffer | None = None
        modulus: Modulus | None = None
        at = 0
        for chunk in chunks:
            checks.check_chunk(self, chunk, chunk.modulus if modulus is None else modulus, at, size)
            if modulus is None or rows is None:
                modulus = chunk.modulus
                rows = self._rows(self._context(modulus), size)
            self._move(rows, chunk.data, self._context(modulus).row_words, chunk.size, out_at=at)
            at += chunk.size
            del chunk  # before the next is made
        checks.check_collected(at, size, any_chunk=modulus is not None)
        assert modulus is not None  # for mypy: checked above
        assert rows is not None
        return self._array(rows, modulus, (size,))

    def reshape(self, a: ResidueArray, shape: tuple[int, ...]) -> ResidueArray:
        checks.check_owned(self, a)
        checks.check_reshape(a, shape)
        return self._array(a.data, a.modulus, shape)

    # -- arithmetic --------------------------------------------------------------------------------------

    def mod_mul(self, a: ResidueArray, b: ResidueArray) -> ResidueArray:
        checks.check_pair(self, a, b)
        context = self._context(a.modulus)
        rows = self._rows(context, a.size)
        if a.data is b.data:
            self._integer("square", context, a.size, rows, a.data)
        else:
            self._multiply(context, rows, a.data, b.data, a.size)
        return self._array(rows, a.modulus, a.shape)

    def mod_exp(self, a: ResidueArray, exponents: ExponentArray) -> ResidueArray:
        return self._raised(a, exponents, whole=True)

    def mod_exp_vartime(self, a: ResidueArray, exponents: ExponentArray) -> ResidueArray:
        return self._raised(a, exponents, whole=False)

    def _raised(self, a: ResidueArray, exponents: ExponentArray, *, whole: bool) -> ResidueArray:
        checks.check_owned(self, a)
        checks.check_exponents_for(a, exponents)
        words = self._exponents_on_device(exponents)
        rows = self._power(self._context(a.modulus), a.data, a.size, words, exponents.bits, whole=whole)
        return self._array(rows, a.modulus, a.shape)

    def _exponents_on_device(self, exponents: ExponentArray) -> Exponents:
        """The words of all exponents, how many words each has, and whether one serves a whole batch."""
        if isinstance(exponents, DeviceExponents) and exponents.backend is self:
            return exponents.data, 2 * limbs_for_bits(exponents.bits), exponents.shape == ()
        limbs = np.ascontiguousarray(exponents.limbs)
        return self._keep(limbs), 2 * limbs.shape[-1], exponents.shape == ()

    def fixed_base_table(
        self, base: int, modulus: Modulus, exponent_bits: int, *, memory_budget: int | None = None
    ) -> FixedBaseTable:
        """See the protocol; the smallest table has windows of one bit, whatever the budget."""
        checks.check_fixed_base(base, modulus, exponent_bits, memory_budget)
        context = self._context(modulus)
        window = table_window(context, exponent_bits, memory_budget)
        with self.secrecy():  # modulo a secret factor's square, powers of a known base tell the factor
            table = self._fixed_base_table(context, base, exponent_bits, window)
        nbytes = (-(-exponent_bits // window) << window) * context.row_bytes
        return FixedBaseTable(self, modulus, exponent_bits, nbytes, (table, window))

    def fixed_base_exp(self, table: FixedBaseTable, exponents: ExponentArray) -> ResidueArray:
        checks.check_owned(self, table)
        checks.check_table_exponents(table, exponents)
        entries, window = table.data
        words, context = self._exponents_on_device(exponents), self._context(table.modulus)
        count, form = math.prod(exponents.shape), context.square
        rows = self._fixed_base_power(context, entries, window, words, exponents.bits, count, logarithmic=form)
        return self._array(rows, table.modulus, exponents.shape)

    def multi_exp(
        self,
        bases: ResidueArray,
        magnitudes: Limbs,
        negative: NDArray[np.bool_] | None,
        bits: int,
        *,
        constant_time: bool = False,
        most: int | None = None,
    ) -> ResidueArray:
        checks.check_owned(self, bases)
        m, _ = checks.check_multi_exp(bases, magnitudes, negative, bits, most)
        context = self._context(bases.modulus)
        rows = self._multi_exp(context, bases.data, magnitudes, negative, bits, constant_time=constant_time)
        return self._array(rows, bases.modulus, (m,))

    def product(self, a: ResidueArray) -> ResidueArray:
        checks.check_owned(self, a)
        checks.check_last_axis(a)
        shape = a.shape[:-1]
        rows = self._product(self._context(a.modulus), a.data, math.prod(shape), a.shape[-1])
        return self._array(rows, a.modulus, shape)

    def segment_product(self, a: ResidueArray, segments: Indices, count: int) -> ResidueArray:
        checks.check_owned(self, a)
        checks.check_segments(a, segments, count)
        rows = self._segment_product(self._context(a.modulus), a.data, segments, count)
        return self._array(rows, a.modulus, (count,))

    def batch_invert(self, a: ResidueArray) -> ResidueArray:
        checks.check_owned(self, a)
        return self._array(self._inverse(self._context(a.modulus), a.data, a.size), a.modulus, a.shape)

    def gcd_is_one(self, a: ResidueArray) -> NDArray[np.bool_]:
        checks.check_owned(self, a)
        return self._units(self._context(a.modulus), a.data, a.size).reshape(a.shape)

    # -- Paillier's moduli n^2, p^2, q^2 -----------------------------------------------------------------

    def reduce(self, a: ResidueArray, modulus: Modulus) -> ResidueArray:
        checks.check_owned(self, a)
        checks.check_divides(a, modulus)
        rows = self._reduced(self._context(a.modulus), self._context(modulus), a.data, a.size)
        return self._array(rows, modulus, a.shape)

    def lift(
        self, a_p: ResidueArray, a_q: ResidueArray, crt: CrtModulus, messages: Limbs | None = None
    ) -> ResidueArray:
        checks.check_lift(self, a_p, a_q, crt, messages)
        rows = self._lifted(self._crt_constants(crt), (a_p.data, a_q.data), a_p.size)
        lifted = self._array(rows, crt.n_squared, a_p.shape)
        return lifted if messages is None else self.encode(messages, crt.n_squared, lifted)

    def encode(self, messages: Limbs, modulus: Modulus, times: ResidueArray | None = None) -> ResidueArray:
        root, shape = checks.check_encode(self, messages, modulus, times)
        flat, factors = messages.reshape(-1, root.limbs), None if times is None else times.data
        return self._array(self._encoded(self._context(modulus), flat, factors), modulus, shape)

    def decode(self, a_p: ResidueArray, a_q: ResidueArray, crt: CrtModulus) -> Limbs:
        checks.check_crt_halves(self, a_p, a_q, crt)
        limbs = self._decoded(self._crt_constants(crt), (a_p.data, a_q.data), a_p.size)
        return limbs.reshape(*a_p.shape, crt.n.limbs)

    def decrypt(self, a: ResidueArray, crt: CrtModulus) -> Limbs:
        checks.check_owned(self, a)
        checks.check_modulus(a, crt.n_squared)
        return self._decrypted(self._crt_constants(crt), a.data, a.size).reshape(*a.shape, crt.n.limbs)

    def decrypt_bounded(self, a: ResidueArray, crt: CrtModulus, bound: int) -> Limbs:
        checks.check_bounded(self, a, crt, bound)
        limbs = self._decrypted_bounded(self._crt_constants(crt), a.data, a.size, bound)
        return limbs.reshape(*a.shape, limbs.shape[1])

    def _array(self, rows: Buffer, modulus: Modulus, shape: tuple[int, ...]) -> ResidueArray:
        return ResidueArray(self, modulus, shape, rows)
