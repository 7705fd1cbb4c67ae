"""Rows of Paillier: encryption, decryption, sums and the encrypted matrix-vector product, with ciphertexts resident."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from hecore import paillier
from hecore.arith.limbs import ints_from_limbs, limbs_from_ints
from hecore.backends import registry
from hecore.backends.kernel_backend import KernelBackend
from hecore.backends.protocol import saturating_batch
from hecore.backends.reference import ReferenceBackend
from hecore.bench.gpu_results import Work
from hecore.bench.gpu_rows import Case, Job, places, spots, wrong
from hecore.bench.gpu_work import ModularWork, decryption, decryption_bounded, encryption
from hecore.bench.results import SECURE_KEY_BITS
from hecore.paillier.obfuscation import public_obfuscators

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hecore.backends.protocol import Limbs, ResidueArray
    from hecore.backends.ring_protocol import Backend
    from hecore.bench.gpu_inputs import Inputs
    from hecore.paillier import EncryptedArray, PublicKey, SecretKey

KEY_BITS, QUICK_KEY_BITS = 2048, 512
VALUE_BITS = 24
_KNOWN = 256
_ITEMS = 1 << 20
_MATVEC = (1024, 40, 1_000_000)  # bits of the key, rows, columns
_QUICK_MATVEC = (512, 4, 400)
_MESSAGE_BITS = 15  # sums of 10^6 products with 24-bit numbers stay below 2^63


@dataclass(frozen=True)
class _Key:
    """A pair with the large table of encryption built."""

    public: PublicKey
    secret: SecretKey


class PaillierRows:
    """Keys are made at the first row that asks for them."""

    def __init__(self, backend: Backend, inputs: Inputs) -> None:
        self.backend = backend
        self.inputs = inputs
        self._keys: dict[int, _Key] = {}

    def jobs(self, *, quick: bool) -> Iterator[Job]:
        bits = QUICK_KEY_BITS if quick else KEY_BITS
        most = 2048 if quick else _ITEMS
        each, enough = 16 * bits, saturating_batch(self.backend)
        for operation, make in (
            ("encrypt, resident", self._encrypt),
            ("decrypt, resident", self._decrypt),
            ("decrypt bounded, resident", self._decrypt_bounded),
            ("add, resident", self._add),
            ("obfuscators", self._obfuscators),
            ("encrypt, from numbers", self._encrypt_numbers),
            ("decrypt, to numbers", self._decrypt_numbers),
            ("upload", self._upload),
            ("download", self._download),
        ):
            yield Job(f"paillier {operation}", f"{bits}", "value", partial(make, bits=bits), 64, most, each, enough)
        key_bits, rows, columns = _QUICK_MATVEC if quick else _MATVEC
        size = f"{key_bits}, {rows} rows, {VALUE_BITS} bits signed"
        words = key_bits + 24 * rows  # of a base, and of a column's scalars with their keys
        yield Job(
            "paillier mat-vec", size, "term", lambda n: self._matvec(n, key_bits, rows), 200, columns, words, 4 * enough
        )

    def key(self, bits: int) -> _Key:
        if bits not in self._keys:
            generate = paillier.generate_keypair if bits >= SECURE_KEY_BITS else paillier.generate_insecure_keypair
            self._keys[bits] = _Key(*generate(bits))
        return self._keys[bits]

    # -- rows --------------------------------------------------------------------------------------------

    def _obfuscators(self, items: int, bits: int) -> Case:
        key = self._prepared(bits)

        def check(result: ResidueArray) -> str:
            at = spots(items)
            found = self._ciphertexts(result, at)
            if len(set(found)) < len(at):
                return "obfuscators repeat themselves"
            return wrong("obfuscators decrypt", self._decrypted(key, found), [0] * len(at))

        work = None
        if isinstance(self.backend, KernelBackend):
            costs = ModularWork.of(key.public.n_squared, self.backend._shapes)
            work = costs.fixed_base(key.public.randomness_bits)
        return Case(lambda: public_obfuscators(key.public, items, self.backend), check, work)

    def _encrypt(self, items: int, bits: int) -> Case:
        """Messages come from the host, an n each; randomness is made there."""
        key = self._prepared(bits)
        known, messages = self._messages(items, key)

        def run() -> ResidueArray:
            masks = public_obfuscators(key.public, items, self.backend)
            return self.backend.encode(messages, key.public.n_squared, times=masks)

        def check(result: ResidueArray) -> str:
            at = spots(items)
            expected = [known[i] for i in places(items, _KNOWN)[at]]
            return wrong("ciphertexts", self._decrypted(key, self._ciphertexts(result, at)), expected)

        return Case(run, check, self._encryption(key), note="encoded messages cross within the time")

    def _decrypt(self, items: int, bits: int) -> Case:
        key = self._prepared(bits)
        _, messages = self._messages(_KNOWN, key)
        masks = public_obfuscators(key.public, _KNOWN, self.backend)
        some = self.backend.encode(messages, key.public.n_squared, times=masks)
        at = places(items, _KNOWN)
        ciphertexts, expected = self.backend.take(some, at), messages[at]

        def check(result: Limbs) -> str:
            return "" if np.array_equal(result, expected) else "messages are not those that were encrypted"

        work = decryption(key.secret.crt, self.backend._shapes) if isinstance(self.backend, KernelBackend) else None
        note = "messages cross within the time"
        return Case(lambda: self.backend.decrypt(ciphertexts, key.secret.crt), check, work, note=note)

    def _decrypt_bounded(self, items: int, bits: int) -> Case:
        """Modulo one factor, which decides these numbers."""
        key = self.key(bits)
        x, crt = self._array(items, key, 0), key.secret.crt
        expected = self._numbers(items, 0).astype(np.uint64) + np.uint64(x.bound)

        def check(result: Limbs) -> str:
            fine = np.array_equal(result[:, 0], expected) and not result[:, 1:].any()
            return "" if fine else "numbers are not those that were encrypted"

        work = decryption_bounded(crt, self.backend._shapes) if isinstance(self.backend, KernelBackend) else None
        note = "numbers cross within the time, as long as p"
        return Case(lambda: self.backend.decrypt_bounded(x.residues, crt, x.bound), check, work, note=note)

    def _add(self, items: int, bits: int) -> Case:
        key = self.key(bits)
        x, y = self._array(items, key, 0), self._array(items, key, 1)
        values = self._numbers(items, 0) + self._numbers(items, 1)

        def check(result: EncryptedArray) -> str:
            at = spots(items)
            return wrong("sums", self._decrypted(key, self._ciphertexts(result.residues, at)), values[at].tolist())

        work = None
        if isinstance(self.backend, KernelBackend):
            work = ModularWork.of(key.public.n_squared, self.backend._shapes).product
        return Case(lambda: x + y, check, work)

    def _encrypt_numbers(self, items: int, bits: int) -> Case:
        key, values = self._prepared(bits), self._numbers(items, 0)

        def run() -> EncryptedArray:
            with registry.use(self.backend):
                return key.public.encrypt(values)

        def check(result: EncryptedArray) -> str:
            at = spots(items)
            found = self._decrypted(key, self._ciphertexts(result.residues, at))
            return wrong("ciphertexts", found, values[at].tolist())

        return Case(run, check, self._encryption(key), note="numbers are encoded by the host within the time")

    def _decrypt_numbers(self, items: int, bits: int) -> Case:
        key = self.key(bits)
        x, values = self._array(items, key, 0), self._numbers(items, 0)

        def check(result: NDArray[np.int64]) -> str:
            return "" if np.array_equal(result, values) else "numbers are not those that were encrypted"

        return Case(lambda: key.secret.decrypt(x), check, note="numbers are decoded by the host within the time")

    def _matvec(self, columns: int, bits: int, rows: int) -> Case:
        """Signed 24-bit numbers times ciphertexts, as `multi_exp` takes them from the host."""
        key = self.key(bits)
        generator = np.random.default_rng(int(self.inputs.integer(f"matrix {columns}", 64)))
        magnitudes = generator.integers(0, 1 << VALUE_BITS, (rows, columns, 1), dtype=np.uint64)
        negative = generator.integers(0, 2, (rows, columns), dtype=np.uint8).view(np.bool_)
        numbers = [self.inputs.integer(f"message {i}", _MESSAGE_BITS) for i in range(_KNOWN)]
        limbs = limbs_from_ints(numbers, -(-bits // 64))
        masks = public_obfuscators(key.public, _KNOWN, self.backend)
        known = self.backend.encode(limbs, key.public.n_squared, times=masks)
        at = places(columns, _KNOWN)
        bases = self.backend.take(known, at)

        def check(result: ResidueArray) -> str:
            signed = np.where(negative, -1, 1) * magnitudes[..., 0].astype(np.int64)
            expected = (signed @ np.array(numbers, dtype=np.int64)[at]).tolist()
            found = self._decrypted(key, self._ciphertexts(result, np.arange(rows)))
            return wrong("outputs", found, [x % key.public.n for x in expected])

        transfers = {}
        work = None
        if isinstance(self.backend, KernelBackend):
            device = self.backend
            transfers["matrix"] = lambda: (device._to_device(magnitudes), device._to_device(negative.view(np.uint8)))
            work = ModularWork.of(key.public.n_squared, device._shapes).multi_exp(rows, columns, VALUE_BITS)

        def run() -> ResidueArray:
            return self.backend.multi_exp(bases, magnitudes, negative, VALUE_BITS)

        note = f"{rows} x {columns:,}; the matrix crosses within the time"
        return Case(run, check, work, transfers, rows * columns, note)

    def _upload(self, items: int, bits: int) -> Case:
        """From the host's limbs to residues as kernels have them."""
        modulus = self.key(bits).public.n_squared
        limbs = self._limbs(items, bits)

        def check(result: ResidueArray) -> str:
            at = spots(items)
            return wrong("residues", self._ciphertexts(result, at), ints_from_limbs(limbs[at]))

        return Case(lambda: self.backend.upload(limbs, modulus), check, note=f"{8 * modulus.limbs} bytes each")

    def _download(self, items: int, bits: int) -> Case:
        modulus = self.key(bits).public.n_squared
        limbs = self._limbs(items, bits)
        a = self.backend.upload(limbs, modulus)

        def check(result: Limbs) -> str:
            return "" if np.array_equal(result, limbs) else "residues are not those that were sent"

        return Case(lambda: self.backend.download(a), check, note=f"{8 * modulus.limbs} bytes each")

    # -- operands and results ------------------------------------------------------------------------------

    def _limbs(self, items: int, bits: int) -> Limbs:
        """Residues modulo n^2, a few over and over."""
        return self.inputs.limbs("residues", _KNOWN, self.key(bits).public.n_squared.value)[places(items, _KNOWN)]

    def _prepared(self, bits: int) -> _Key:
        key = self.key(bits)
        key.public.fixed_base(self.backend).prepare()
        return key

    def _messages(self, items: int, key: _Key) -> tuple[list[int], Limbs]:
        """Known messages below n, and (items, limbs) of them: item i is known[places[i]]."""
        n = key.public.n
        known = [self.inputs.below(f"message {i}", n) for i in range(_KNOWN)]
        return known, limbs_from_ints(known, -(-n.bit_length() // 64))[places(items, _KNOWN)]

    def _numbers(self, items: int, which: int) -> NDArray[np.int64]:
        known = [self.inputs.integer(f"number {which} {i}", 31) for i in range(_KNOWN)]
        return np.array(known, dtype=np.int64)[places(items, _KNOWN)]

    def _array(self, items: int, key: _Key, which: int) -> EncryptedArray:
        """`items` encrypted numbers, of a few that were encrypted."""
        numbers = self._numbers(_KNOWN, which)
        with registry.use(self.backend):
            known = key.public.encrypt(numbers)
        return known[np.arange(items) % _KNOWN]

    def _ciphertexts(self, a: ResidueArray, at: NDArray[np.intp]) -> list[int]:
        return ints_from_limbs(self.backend.download(self.backend.take(a, at)))

    @staticmethod
    def _decrypted(key: _Key, ciphertexts: list[int]) -> list[int]:
        """By the reference."""
        reference, modulus = ReferenceBackend(), key.public.n_squared
        residues = reference.upload(limbs_from_ints(ciphertexts, modulus.limbs), modulus)
        return ints_from_limbs(reference.decrypt(residues, key.secret.crt))

    def _encryption(self, key: _Key) -> Work | None:
        if not isinstance(self.backend, KernelBackend):
            return None
        return encryption(key.public.n_squared, key.public.randomness_bits, self.backend._shapes)
