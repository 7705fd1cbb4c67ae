"""Many signed values in one plaintext, with guard bits between them.

A slot is `width` = 1 + slot_bits + guard_bits bits wide; slot i of a plaintext holds v_i as the signed sum
m = sum of v_i * 2**(i*width), |v_i| < 2**(width-1). Adding plaintexts adds all slots, multiplying by a small integer
multiplies all slots, and as long as every |v_i| stays below 2**(width-1) no slot reaches its neighbour: read from the
low end, the slots are the digits of m in the balanced number system of base 2**width, which are unique.

The bound on |v_i| is tracked like the bound of an unpacked array, from declared ranges and operations alone; an
operation that could exceed it raises `SlotOverflowError` before it happens. guard_bits = g leaves room for 2**g
additions, or for factors and terms whose sizes multiply to 2**g. 2048-bit keys hold 42 slots of 24 + 24 bits.

Slots lie along the last axis: an array of shape (rows, 1000) becomes (rows, ceil(1000 / slots)) ciphertexts. Whatever
works on whole rows works on packed arrays; slots of one plaintext cannot be moved or added to each other.

Plain numbers that are added to a packed array take the encoding that they declare with `plain`. Others take the
packing's range on its own grid or on the array's, whichever is finer: rounded where the packing declares an exponent,
as they are when packed, and refused where they do not lie on it otherwise. Whichever of the two then has the larger
exponent is multiplied by a power of two.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from hecore.arith.limbs import LIMB_BITS, limbs_for_bits
from hecore.errors import KeyMismatchError, OperandTypeError, ParameterError, ShapeError, SlotOverflowError
from hecore.paillier import linear, messages
from hecore.paillier.ciphertext import EncryptedArray
from hecore.paillier.encoding import (
    Encoded,
    Encoding,
    FixedPoint,
    Floats,
    Integers,
    Plain,
    encode,
    plaintext_limit,
)
from hecore.paillier.keys import PublicKey
from hecore.paillier.refusals import Refusals
from hecore.paillier.validation import as_integer

if TYPE_CHECKING:
    from hecore.paillier.keys import SecretKey
    from hecore.paillier.messages import Flags, Limbs
    from hecore.paillier.pool import ObfuscatorPool

_MAX_SLOT_BITS = 4096


@dataclass(frozen=True)
class Packing:
    """How values share a plaintext: |v| < 2**slot_bits as integers, with room to grow by guard_bits.

    `exponent` None packs exact integers; an int packs numbers rounded half to even to multiples of 2**exponent.
    `slots` limits the number of values in a plaintext; None takes as many as the key holds.
    """

    slot_bits: int
    guard_bits: int = 16
    exponent: int | None = None
    slots: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("slot_bits", 1), ("guard_bits", 0), ("slots", 1)):
            value = getattr(self, name)
            if name == "slots" and value is None:
                continue
            if not least <= as_integer(name, value) <= _MAX_SLOT_BITS:
                raise ParameterError(f"cannot pack with {name}={value}: it must lie in [{least}, {_MAX_SLOT_BITS}]")
        _ = self.encoding  # checks the exponent

    @property
    def width(self) -> int:
        """Bits of a slot: one for the sign, slot_bits, guard_bits."""
        return 1 + self.slot_bits + self.guard_bits

    @property
    def slot_limit(self) -> int:
        """Largest magnitude that a slot can hold."""
        return (1 << (self.width - 1)) - 1

    @property
    def encoding(self) -> Integers | FixedPoint:
        """The declared range of the values that are packed."""
        return Integers(self.slot_bits) if self.exponent is None else FixedPoint(self.exponent, self.slot_bits)

    def slots_in(self, public_key: PublicKey) -> int:
        """Values in one plaintext of this key.

        |m| <= slot_limit * (2**(width*s) - 1)/(2**width - 1) < 2**(width*s - 1), so s slots fit where that is at most
        n//3. Raises SlotOverflowError where not even one fits, or not as many as asked for.
        """
        most = plaintext_limit(public_key.n).bit_length() // self.width
        if most < (self.slots or 1):
            raise SlotOverflowError(
                f"cannot pack {self.slots or 1} slots of {self.width} bits: this key's plaintexts hold {most}"
            )
        return self.slots or most

    def encrypt(self, key: PublicKey | SecretKey, values: object, *, pool: ObfuscatorPool | None = None) -> PackedArray:
        """Pack and encrypt numbers of shape (..., length); a secret key is the faster own-key form.

        Raises what `encode` raises, and ShapeError for a scalar.
        """
        public_key = key if isinstance(key, PublicKey) else key.public_key
        slots = self.slots_in(public_key)
        encoded = encode(values, self.encoding)
        if not encoded.shape:
            raise ShapeError("cannot pack a scalar: slots lie along the last axis")
        array = key.encrypt(_pack(encoded, self.width, slots), pool=pool)
        return PackedArray(array, self, slots, encoded.shape[-1], encoded.encoding, encoded.bound)


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class PackedArray(Refusals):
    """An encrypted array whose last axis is packed: made by `Packing.encrypt`, read by `SecretKey.decrypt`.

    `array` holds the plaintexts, shape (..., blocks); `encoding` reads one slot; `slot_bound` bounds every slot.
    """

    array: EncryptedArray
    packing: Packing
    slots: int
    length: int
    encoding: Encoding
    slot_bound: int

    __array_ufunc__ = None  # NumPy leaves `ndarray + packed` to the methods below

    # -- what it is ----------------------------------------------------------------------------------------

    @property
    def public_key(self) -> PublicKey:
        return self.array.public_key

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values."""
        return (*self.array.shape[:-1], self.length)

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def headroom_bits(self) -> int:
        """How many times the array can be doubled before a slot could overflow."""
        return (self.packing.slot_limit // max(1, self.slot_bound)).bit_length() - 1

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<PackedArray shape={self.shape}, {self.slots} slots of {self.packing.width} bits, {self.public_key!r}>"

    def __getitem__(self, key: Any) -> PackedArray:
        """Rows, by NumPy's basic and array indexing of every axis but the last."""
        parts = key if isinstance(key, tuple) else (key,)
        if any(p is None or p is Ellipsis for p in parts) or len(parts) >= self.ndim:
            raise OperandTypeError("cannot index the packed axis: only the axes before it")
        index = np.arange(self.array.size, dtype=np.intp).reshape(self.array.shape)[key]
        basic = all(isinstance(p, slice | int | np.integer) for p in parts)
        array = self.array.gather(np.asarray(index), randomised=self.array.randomised and basic)
        return replace(self, array=array)

    def to(self, device: str) -> PackedArray:
        """The same ciphertexts on another backend."""
        return replace(self, array=self.array.to(device))

    def rerandomize(self, *, pool: ObfuscatorPool | None = None) -> PackedArray:
        """The same values under fresh randomness."""
        return replace(self, array=self.array.rerandomize(pool=pool))

    # -- arithmetic ----------------------------------------------------------------------------------------

    def _result(self, array: EncryptedArray, slot_bound: int, exponent: int | None = None) -> PackedArray:
        encoding = self.encoding
        if exponent is not None and exponent != encoding.exponent:
            encoding = Encoding("fixed", exponent)
        return replace(self, array=array, encoding=encoding, slot_bound=slot_bound)

    def _check_slots(self, bound: int, operation: str) -> None:
        if bound > self.packing.slot_limit:
            raise SlotOverflowError(
                f"cannot {operation}: a slot may need {bound.bit_length()} bits and holds "
                f"{self.packing.width - 1}; pack with more guard_bits or declare "
                "smaller factors with plain(..., bits=...)"
            )

    def _same_layout(self, other: PackedArray) -> None:
        if self.public_key != other.public_key:
            raise KeyMismatchError("cannot combine packed arrays of different keys")
        ours = (self.packing.width, self.slots, self.length, self.encoding.exponent, self.encoding.kind)
        theirs = (other.packing.width, other.slots, other.length, other.encoding.exponent, other.encoding.kind)
        if ours != theirs:
            raise ShapeError(
                "cannot combine packed arrays of different layouts (width, slots, length, exponent, kind): "
                f"{ours} and {theirs}"
            )

    def _add(self, other: object, *, minus: bool, reflected: bool = False) -> PackedArray:
        """self + other, self - other, or other - self."""
        if isinstance(other, PackedArray):
            self._same_layout(other)
            bound = self.slot_bound + other.slot_bound
            self._check_slots(bound, "add")
            return self._result(linear.add(self.array, other.array, minus=minus), bound)
        if isinstance(other, EncryptedArray):
            raise OperandTypeError("cannot add an EncryptedArray to a packed one: pack it when it is encrypted")
        plain = self._addend(other)
        shape = linear.broadcast_shape(self.shape, plain.shape)
        if shape[-1] != self.length:
            raise ShapeError(f"cannot add shape {plain.shape} to packed values of shape {self.shape}")
        own, its = self.encoding.exponent, plain.encoding.exponent
        assert isinstance(own, int)
        assert isinstance(its, int)
        exponent = min(own, its)
        bound = (self.slot_bound << (own - exponent)) + (plain.bound << (its - exponent))
        self._check_slots(bound, "add")
        shifted = linear.rescale(self.array, exponent - own)
        array = shifted.derived(shifted.residues, Encoding("integer"), shifted.bound)
        plain = plain.at_exponent(exponent)
        lead = plain.shape[:-1] if plain.shape else ()
        packed = _pack(plain.broadcast_to((*lead, self.length)), self.packing.width, self.slots)
        if minus and not reflected:
            packed = packed.negated()
        return self._result(linear.add_plain(array, packed, minus=reflected), bound, exponent)

    def _addend(self, other: object) -> Encoded:
        """Plain numbers under the encoding that they declare, or else on the finer grid of the packing's and ours."""
        if isinstance(other, Plain) and (other.encoding is not None or other.is_public):
            return encode(other).with_one_exponent()
        assert isinstance(self.encoding.exponent, int)
        packing = self.packing
        finer = (packing.exponent or 0) - self.encoding.exponent
        if finer <= 0:
            return encode(other, packing.encoding)
        if packing.exponent is None:
            return encode(other, Floats(-finer, packing.slot_bits))
        return encode(other, FixedPoint(self.encoding.exponent, packing.slot_bits + finer))

    def __add__(self, other: object) -> PackedArray:
        return self._add(other, minus=False)

    __radd__ = __add__

    def __sub__(self, other: object) -> PackedArray:
        return self._add(other, minus=True)

    def __rsub__(self, other: object) -> PackedArray:
        return self._add(other, minus=True, reflected=True)

    def __neg__(self) -> PackedArray:
        return self._result(linear.negate(self.array), self.slot_bound)

    def __mul__(self, other: object) -> PackedArray:
        """Times a small plain number, or one per row: shape () or (..., 1). All slots of a row share a factor."""
        plain = self._factor(other)
        if plain.shape and plain.shape[-1] != 1:
            raise ShapeError(
                f"cannot multiply packed values by shape {plain.shape}: a factor serves a whole row, (..., 1)"
            )
        bound = self.slot_bound * plain.bound
        self._check_slots(bound, "multiply")
        return self._result(
            linear.multiply_plain(self.array, _as_integers(plain)), bound, self._product_exponent(plain)
        )

    __rmul__ = __mul__

    def __rmatmul__(self, other: object) -> PackedArray:
        """Plain matrix (m, k) @ packed rows (k, length): (m, length); a plain vector (k,) gives (length,)."""
        plain = self._factor(other).with_one_exponent()
        if self.ndim < 2:
            raise ShapeError(f"cannot multiply a matrix by packed values of shape {self.shape}: rows are needed")
        if plain.shape[-1:] != (self.shape[-2],):
            raise ShapeError(f"cannot matrix-multiply shapes {plain.shape} and {self.shape}: the inner sizes differ")
        bound = self.slot_bound * plain.bound * self.shape[-2]
        self._check_slots(bound, "matrix-multiply")
        product = linear.matmul(self.array, _as_integers(plain), plain_first=True)
        return self._result(product, bound, self._product_exponent(plain))

    def __matmul__(self, other: object) -> NoReturn:
        raise OperandTypeError("cannot sum over the packed axis: only plain @ packed, over the rows")

    def sum(self, axis: int | tuple[int, ...] = 0, keepdims: bool = False) -> PackedArray:
        """Exact sum over axes other than the last."""
        axes = linear.normalise_axes(axis, self.ndim)
        if self.ndim - 1 in axes:
            raise OperandTypeError("cannot sum over the packed axis: only over the axes before it")
        bound = self.slot_bound * int(np.prod([self.shape[a] for a in axes], dtype=np.int64))
        self._check_slots(bound, "sum")
        return self._result(linear.total(self.array, axes, keepdims), bound)

    def _factor(self, other: object) -> Encoded:
        if isinstance(other, EncryptedArray | PackedArray):
            raise OperandTypeError("cannot multiply two encrypted arrays: Paillier multiplies by plain numbers only")
        plain = encode(other)
        return plain.with_one_exponent()

    def _product_exponent(self, plain: Encoded) -> int:
        assert isinstance(self.encoding.exponent, int)
        assert isinstance(plain.encoding.exponent, int)
        return self.encoding.exponent + plain.encoding.exponent

    # -- bytes ---------------------------------------------------------------------------------------------

    def to_bytes(self, *, raw: bool = False) -> bytes:
        """The wire form; rerandomised first where it is not randomised, unless `raw`."""
        from hecore.paillier import array_wire

        return array_wire.packed_to_bytes(self, raw=raw)

    @staticmethod
    def from_bytes(data: bytes, public_key: PublicKey) -> PackedArray:
        """Reads the wire form on the current backend and checks every ciphertext."""
        from hecore.paillier import array_wire

        return array_wire.packed_from_bytes(data, public_key)

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedArray.from_bytes, (self.to_bytes(), self.public_key)


def _as_integers(plain: Encoded) -> Encoded:
    """The same integers, read at exponent 0: slots keep their exponent apart from the plaintext's."""
    return replace(plain, encoding=Encoding("integer"))


def repunit(width: int, slots: int) -> int:
    """sum of 2**(i*width) for i < slots."""
    return ((1 << (width * slots)) - 1) // ((1 << width) - 1)


def _pack(encoded: Encoded, width: int, slots: int) -> Encoded:
    """Integers (..., length) -> plaintexts (..., ceil(length/slots)), short blocks padded with zero.

    Positive and negative slots are laid out apart, where they are disjoint bit fields, then subtracted once.
    """
    *lead, length = encoded.shape
    blocks = -(-length // slots)
    bound = encoded.bound * repunit(width, slots)
    limbs = limbs_for_bits(width * slots)
    padding = [(0, 0)] * len(lead) + [(0, blocks * slots - length)]
    rows = np.prod(lead, dtype=np.int64) * blocks
    # Slot by slot and limb by limb, each of all blocks side by side: (slots, limbs of a value, rows).
    padded = np.pad(encoded.magnitudes, [*padding, (0, 0)]).reshape(rows, slots, -1)
    magnitudes = np.ascontiguousarray(padded.transpose(1, 2, 0))
    negative = np.pad(encoded.negative, padding).reshape(rows, slots)
    minus = np.where(np.ascontiguousarray(negative.T)[:, None], magnitudes, np.uint64(0))
    sides = [_fields(side, width, limbs).reshape(*lead, blocks, limbs) for side in (magnitudes ^ minus, minus)]
    packed, below_zero = messages.signed_difference(sides[0], sides[1])
    packed = messages.resize(packed, limbs_for_bits(bound.bit_length()))
    return Encoded(packed, below_zero, Encoding("integer"), bound)


def _fields(values: Limbs, width: int, limbs: int) -> Limbs:
    """values[i, j] holds limb j of slot i of every row: slot i at bit i * width of integers (rows, limbs)."""
    out = np.zeros((limbs, values.shape[-1]), dtype=np.uint64)
    for i, slot in enumerate(values):
        word, bit = divmod(i * width, LIMB_BITS)
        for j, limb in enumerate(slot[: limbs - word]):
            out[word + j] |= limb << np.uint64(bit)
            if bit and word + j + 1 < limbs:
                out[word + j + 1] |= limb >> np.uint64(LIMB_BITS - bit)
    return np.ascontiguousarray(out.T)


def unpack(magnitudes: Limbs, negative: Flags, packed: PackedArray) -> tuple[Limbs, Flags]:
    """Plaintexts (..., blocks) -> slots (..., length), signed.

    Adding half of the base to every digit makes all of them positive bit fields; a slot is its field less that half.
    """
    width, slots = packed.packing.width, packed.slots
    half = 1 << (width - 1)
    limbs = limbs_for_bits(width * slots + 1)
    offset, _ = messages.from_ints([half * repunit(width, slots)], (), limbs)
    wide = messages.resize(magnitudes, limbs)
    lifted = np.where(negative[..., None], messages.subtract(offset, wide)[0], messages.add(offset, wide))
    middle, _ = messages.from_ints([half], (), limbs_for_bits(width))
    fields = np.stack([messages.bit_field(lifted, i * width, width) for i in range(slots)], axis=-2)
    flat = fields.reshape(*fields.shape[:-3], -1, fields.shape[-1])[..., : packed.length, :]
    return messages.signed_difference(flat, middle)
