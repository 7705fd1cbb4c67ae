"""`EncryptedArray`: an n-dimensional array of Paillier ciphertexts with NumPy's manners.

It supports what the scheme supports: shapes and indexing, sums with encrypted and plain operands, products with
plain operands. Everything else (comparisons, truth value, conversion to numbers, products of two encrypted arrays)
raises `OperandTypeError`. Arrays are immutable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike

from hecore.backends import registry
from hecore.counting import count, operation_counter
from hecore.errors import KeyMismatchError, OperandTypeError, ParameterError, ShapeError
from hecore.paillier import linear
from hecore.paillier.encoding import Encoded, Encoding, check_bound, encode, plaintext_limit
from hecore.paillier.obfuscation import public_obfuscators
from hecore.paillier.operands import refuse_mask
from hecore.paillier.refusals import Refusals

if TYPE_CHECKING:
    from hecore.backends.protocol import Indices, ResidueArray
    from hecore.paillier.keys import PublicKey
    from hecore.paillier.pool import ObfuscatorPool

__all__ = ["EncryptedArray", "concatenate", "operation_counter", "stack"]

Axis = int | tuple[int, ...] | None


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class EncryptedArray(Refusals):
    """Ciphertexts of one key on one backend, with the public metadata to read them.

    `residues` are the ciphertexts modulo n^2; each plaintext m has |m| <= `bound` and stands for
    m * 2**encoding.exponent. `bound` follows from dtypes, declared ranges and operations, never from data.
    `randomised` says that fresh randomness was mixed in after the last deterministic operation; what is not
    randomised is when it leaves as bytes.

    Made by `PublicKey.encrypt`, `SecretKey.encrypt`, `from_bytes` and `from_residues`, not by hand: the constructor
    checks nothing.
    """

    public_key: PublicKey
    residues: ResidueArray
    encoding: Encoding
    bound: int
    randomised: bool = field(kw_only=True)

    __array_priority__ = 1000.0

    @classmethod
    def from_residues(
        cls,
        public_key: PublicKey,
        residues: ResidueArray,
        encoding: Encoding,
        bound: int | None = None,
        *,
        randomised: bool = False,
    ) -> EncryptedArray:
        """An array over residues that are valid ciphertexts already (this checks shapes and headroom, not gcds).

        `bound` None claims no more than the plaintext space: such an array can be decrypted, but not added to.
        """
        bound = plaintext_limit(public_key.n) if bound is None else bound
        if residues.modulus != public_key.n_squared:
            raise KeyMismatchError("cannot use residues of another modulus than this key's n^2")
        if residues.size == 0:
            raise ShapeError(f"cannot make an encrypted array of shape {residues.shape}: it would be empty")
        if not isinstance(encoding.exponent, int) and encoding.exponent.shape != residues.shape:
            raise ShapeError(
                f"cannot use exponents of shape {encoding.exponent.shape} for residues of shape {residues.shape}"
            )
        if bound < 0:
            raise ParameterError("cannot use a negative bound")
        if encoding.kind == "integer" and not (isinstance(encoding.exponent, int) and encoding.exponent == 0):
            raise ParameterError("cannot use an exponent other than 0 for integers: their kind is 'fixed' then")
        check_bound(public_key, bound, "use residues with this bound")
        encoding = encoding.with_exponent(encoding.exponent)  # a copy of its own where it is an array
        return cls(public_key, residues, encoding, bound, randomised=randomised)

    # -- what it is ----------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return self.residues.shape

    @property
    def ndim(self) -> int:
        return len(self.residues.shape)

    @property
    def size(self) -> int:
        return self.residues.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """What `decrypt` returns: float64, or int64 (Python integers instead where one does not fit)."""
        return np.dtype(np.int64 if self.encoding.kind == "integer" else np.float64)

    @property
    def device(self) -> str:
        """Name of the backend the ciphertexts live on."""
        return self.residues.backend.name

    @property
    def headroom_bits(self) -> int:
        """How many times the array can be doubled before its bound could leave the plaintext space."""
        limit = plaintext_limit(self.public_key.n)
        bits = limit.bit_length() - max(1, self.bound).bit_length()
        return bits if self.bound << bits <= limit else bits - 1

    def __len__(self) -> int:
        if not self.shape:
            raise OperandTypeError("cannot take len() of an encrypted scalar")
        return self.shape[0]

    def __iter__(self) -> Iterator[EncryptedArray]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<EncryptedArray shape={self.shape} {self.encoding.kind} on {self.device!r} of {self.public_key!r}>"

    def derived(self, residues: ResidueArray, encoding: Encoding, bound: int) -> EncryptedArray:
        """What a deterministic operation made of this array: the same key, no longer randomised."""
        return EncryptedArray(self.public_key, residues, encoding, bound, randomised=False)

    # -- shapes: NumPy on an index array, then one gather ---------------------------------------------------

    def flat_indices(self) -> Indices:
        """0 … size-1 in the array's shape, C order."""
        return np.arange(self.size, dtype=np.intp).reshape(self.shape)

    def gather(self, indices: Indices, *, randomised: bool | None = None) -> EncryptedArray:
        """out.flat[i] = self.flat[indices.flat[i]], of the shape of `indices`."""
        if indices.size == 0:
            raise ShapeError(f"cannot make an encrypted array of shape {indices.shape}: it would be empty")
        encoding = self.encoding
        if not isinstance(encoding.exponent, int):
            encoding = encoding.with_exponent(encoding.exponent.ravel()[indices])
        backend, flat = self.residues.backend, indices.reshape(-1)
        if flat.size == self.size and flat[-1] == self.size - 1 and (flat == np.arange(self.size)).all():
            residues = backend.reshape(self.residues, indices.shape)  # nothing moves: the transpose of a column, say
        else:
            residues = backend.take(self.residues, np.asarray(indices, order="C"))
        return replace(
            self,
            residues=residues,
            encoding=encoding,
            randomised=self.randomised if randomised is None else randomised,
        )

    def rearrange(self, rule: Callable[[Indices], Any], *, picks: bool = False) -> EncryptedArray:
        """What `rule` makes of an index array, made of this array. `picks`: the choice itself may be a secret."""
        try:
            indices = rule(self.flat_indices())
        except (ValueError, TypeError) as error:  # AxisError is a ValueError
            raise ShapeError(f"cannot rearrange shape {self.shape}: {error}") from None
        return self.gather(np.asarray(indices, dtype=np.intp), randomised=self.randomised and not picks)

    def __getitem__(self, key: Any) -> EncryptedArray:
        """NumPy's basic, integer-array and boolean indexing.

        Picking by an array may tell something about the party that picks, so its result is rerandomised when it leaves.
        """
        parts = key if isinstance(key, tuple) else (key,)
        basic = all(p is None or p is Ellipsis or isinstance(p, slice | int | np.integer) for p in parts)
        indices = np.asarray(self.flat_indices()[key], dtype=np.intp)
        return self.gather(indices, randomised=self.randomised and basic)

    def reshape(self, *shape: int | tuple[int, ...]) -> EncryptedArray:
        """The same elements in C order; one size may be -1."""
        wanted = shape[0] if len(shape) == 1 and not isinstance(shape[0], int | np.integer) else shape
        try:
            new = np.broadcast_to(np.False_, self.shape).reshape(wanted).shape  # type: ignore[arg-type]
        except (ValueError, TypeError):
            raise ShapeError(f"cannot reshape {self.shape} into {wanted}") from None
        encoding = self.encoding
        if not isinstance(encoding.exponent, int):
            encoding = encoding.with_exponent(encoding.exponent.reshape(new))
        return replace(self, residues=self.residues.backend.reshape(self.residues, new), encoding=encoding)

    def ravel(self) -> EncryptedArray:
        return self.reshape(-1)

    flatten = ravel

    def transpose(self, *axes: Any) -> EncryptedArray:
        return self.rearrange(lambda i: i.transpose(*axes))

    @property
    def T(self) -> EncryptedArray:  # noqa: N802  (NumPy's name)
        return self.transpose()

    def swapaxes(self, axis1: SupportsIndex, axis2: SupportsIndex) -> EncryptedArray:
        return self.rearrange(lambda i: i.swapaxes(axis1, axis2))

    def squeeze(self, axis: Any = None) -> EncryptedArray:
        return self.rearrange(lambda i: i.squeeze(axis))

    def take(self, indices: ArrayLike, axis: int | None = None) -> EncryptedArray:
        return self.rearrange(lambda i: i.take(indices, axis), picks=True)  # type: ignore[arg-type]

    def repeat(self, repeats: Any, axis: int | None = None) -> EncryptedArray:
        return self.rearrange(lambda i: i.repeat(repeats, axis), picks=True)

    def broadcast_to(self, shape: tuple[int, ...]) -> EncryptedArray:
        return self if shape == self.shape else self.rearrange(lambda i: np.broadcast_to(i, shape))

    def copy(self) -> EncryptedArray:
        """Itself: arrays are immutable."""
        return self

    def to(self, device: str) -> EncryptedArray:
        """The same ciphertexts on another backend."""
        backend = registry.get(device)
        if backend is self.residues.backend:
            return self
        limbs = self.residues.backend.download(self.residues)
        return replace(self, residues=backend.upload(limbs, self.residues.modulus))

    # -- arithmetic ----------------------------------------------------------------------------------------

    def _encode(self, other: object) -> Encoded:
        return encode(other, default=self.encoding.fixed_scale)

    def __add__(self, other: object) -> EncryptedArray:
        if isinstance(other, EncryptedArray):
            return linear.add(self, other)
        return linear.add_plain(self, self._encode(other))

    __radd__ = __add__

    def __neg__(self) -> EncryptedArray:
        return linear.negate(self)

    def __pos__(self) -> EncryptedArray:
        return self

    def __sub__(self, other: object) -> EncryptedArray:
        if isinstance(other, EncryptedArray):
            return linear.add(self, other, minus=True)
        plain = self._encode(other)
        return linear.add_plain(self, plain.negated())

    def __rsub__(self, other: object) -> EncryptedArray:
        return linear.add_plain(self, self._encode(other), minus=True)

    def __mul__(self, other: object) -> EncryptedArray:
        if isinstance(other, EncryptedArray):
            raise OperandTypeError("cannot multiply two encrypted arrays: Paillier multiplies by plain numbers only")
        return linear.multiply_plain(self, self._encode(other))

    __rmul__ = __mul__

    def __matmul__(self, other: object) -> EncryptedArray:
        if isinstance(other, EncryptedArray):
            raise OperandTypeError("cannot multiply two encrypted arrays: Paillier multiplies by plain numbers only")
        return linear.matmul(self, self._encode(other), plain_first=False)

    def __rmatmul__(self, other: object) -> EncryptedArray:
        return linear.matmul(self, self._encode(other), plain_first=True)

    def sum(self, axis: Axis = None, keepdims: bool = False) -> EncryptedArray:
        """Exact sum along axes. Raises HeadroomError where bound times count leaves the plaintext space."""
        return linear.total(self, axis, keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> EncryptedArray:
        """The exact sum times the float64 nearest to 1/count: exact where the count is a power of two."""
        return linear.average(self, axis, keepdims)

    def dot(self, other: object) -> EncryptedArray:
        """`self @ other` for vectors and matrices, `self * other` for scalars."""
        return dot(self, other)

    def segment_sum(self, segments: ArrayLike, count: int) -> EncryptedArray:
        """out[s] = sum of self[i] where segments[i] == s, for a 1-D array; shape (count,). Empty segments give 0."""
        refuse_mask(segments)
        places = np.asarray(segments)
        if self.ndim != 1 or places.shape != self.shape:
            raise ShapeError(
                f"cannot sum segments of shape {places.shape} over {self.shape}: both must be 1-D of one length"
            )
        if places.dtype.kind not in "iu":
            raise OperandTypeError(f"cannot use segments of dtype {places.dtype}: integers are needed")
        if not isinstance(count, int | np.integer) or isinstance(count, bool) or count < 1:
            raise ParameterError("cannot sum into less than one segment: count must be a positive int")
        if places.min() < 0 or places.max() >= count:
            raise ParameterError(f"cannot use a segment number outside [0, {count})")
        return linear.segment_total(self, places.astype(np.intp), int(count))

    def rerandomize(self, *, pool: ObfuscatorPool | None = None) -> EncryptedArray:
        """The same plaintexts under fresh randomness: nobody can link the result to `self` or to what made it.

        `pool` supplies obfuscators made in advance for this key. Raises KeyMismatchError for a pool of another key.
        """
        backend = self.residues.backend
        if pool is None:
            masks = public_obfuscators(self.public_key, self.size, backend)
        elif pool.public_key == self.public_key:
            masks = pool.take_on(self.size, backend)
        else:
            raise KeyMismatchError("cannot rerandomise with this pool: its obfuscators belong to another key")
        masks = backend.reshape(masks, self.shape)
        count("rerandomize", self.size)
        return replace(self, residues=backend.mod_mul(self.residues, masks), randomised=True)

    # -- NumPy's protocols ---------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> EncryptedArray:
        from hecore.paillier.numpy_protocol import call_ufunc

        return call_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        from hecore.paillier.numpy_protocol import call_function

        return call_function(function, args, kwargs)

    # -- bytes ---------------------------------------------------------------------------------------------

    def to_bytes(self, *, raw: bool = False) -> bytes:
        """The wire form. Rerandomised first where it is not randomised, unless `raw`: see `array_wire`."""
        from hecore.paillier import array_wire

        return array_wire.to_bytes(self, raw=raw)

    @staticmethod
    def from_bytes(data: bytes, public_key: PublicKey) -> EncryptedArray:
        """Reads the wire form on the current backend and checks every ciphertext: see `array_wire`."""
        from hecore.paillier import array_wire

        return array_wire.from_bytes(data, public_key)

    def to_json(self, *, raw: bool = False) -> str:
        """JSON as `pheutil` writes it, one ciphertext a line; rerandomised as `to_bytes` does: see `array_json`."""
        from hecore.paillier import array_json

        return array_json.to_json(self, raw=raw)

    @staticmethod
    def from_json(text: str, public_key: PublicKey, *, bits: int | None = None) -> EncryptedArray:
        """Reads `to_json`'s and `pheutil`'s ciphertexts as a vector and checks every one: see `array_json`."""
        from hecore.paillier import array_json

        return array_json.from_json(text, public_key, bits=bits)

    def __reduce__(self) -> tuple[Any, ...]:
        return EncryptedArray.from_bytes, (self.to_bytes(), self.public_key)


def dot(a: Any, b: Any) -> EncryptedArray:
    """NumPy's dot for scalars, vectors and matrices, one operand of them encrypted."""
    encrypted, other = (a, b) if isinstance(a, EncryptedArray) else (b, a)
    if isinstance(other, EncryptedArray):
        raise OperandTypeError("cannot multiply two encrypted arrays: Paillier multiplies by plain numbers only")
    plain = encrypted._encode(other)
    if encrypted.ndim > 2 or len(plain.shape) > 2:
        raise ShapeError(f"cannot dot shapes {encrypted.shape} and {plain.shape}: more than two dimensions need @")
    if not encrypted.shape or not plain.shape:
        return linear.multiply_plain(encrypted, plain)
    return linear.matmul(encrypted, plain, plain_first=encrypted is b)


def _check_arrays(arrays: Sequence[EncryptedArray], what: str) -> None:
    if len(arrays) == 0:
        raise ShapeError(f"cannot {what} no arrays")
    for a in arrays:
        if not isinstance(a, EncryptedArray):
            raise OperandTypeError(f"cannot {what} {type(a).__name__}: encrypt it first")
        linear.check_compatible(arrays[0], a)


def _join(arrays: Sequence[EncryptedArray], rule: Callable[[list[Indices]], Any], what: str) -> EncryptedArray:
    """All elements of all arrays in one flat array, arranged by `rule` on their indices."""
    _check_arrays(arrays, what)
    offsets = np.cumsum([0] + [a.size for a in arrays[:-1]])
    try:
        indices = rule([a.flat_indices() + offset for a, offset in zip(arrays, offsets, strict=True)])
    except ValueError as error:
        raise ShapeError(f"cannot {what} shapes {[a.shape for a in arrays]}: {error}") from None
    backend = arrays[0].residues.backend
    encodings = [a.encoding for a in arrays]
    exponent: Any = encodings[0].exponent
    if any(e.per_element or e.exponent != exponent for e in encodings):
        exponent = np.concatenate([np.broadcast_to(a.encoding.exponent, a.shape).ravel() for a in arrays])
    joined = EncryptedArray(
        arrays[0].public_key,
        backend.concatenate([a.residues for a in arrays]),
        linear.joint_encoding(encodings).with_exponent(exponent),
        max(a.bound for a in arrays),
        randomised=all(a.randomised for a in arrays),
    )
    return joined.gather(np.asarray(indices, dtype=np.intp))


def concatenate(arrays: Sequence[EncryptedArray], axis: int | None = 0) -> EncryptedArray:
    """Joins arrays of one key and backend along an axis (None: all of them flat).

    Different exponents stay as they are: the result then has one per element, and nothing is computed.
    """
    return _join(list(arrays), lambda parts: np.concatenate(parts, axis=axis), "concatenate")


def stack(arrays: Sequence[EncryptedArray], axis: int = 0) -> EncryptedArray:
    """Joins arrays of equal shape along a new axis."""
    return _join(list(arrays), lambda parts: np.stack(parts, axis=axis), "stack")
