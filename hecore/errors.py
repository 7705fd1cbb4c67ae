"""The one tree of exceptions.

Every error that hecore raises on purpose derives from `HecoreError`; each leaf also inherits the built-in
that a caller who knows nothing of hecore would catch. Messages say what was given and what is allowed, and
never contain a key, a plaintext or encryption randomness.
"""


class HecoreError(Exception):
    """Root of all errors raised by hecore."""


class ParameterError(HecoreError, ValueError):
    """A parameter is outside what the operation allows."""


class InsecureParametersError(ParameterError):
    """The parameters fall below the security floor and the call's name does not say `insecure`."""


class OperandTypeError(HecoreError, TypeError):
    """An operand has a type the operation does not accept."""


class ShapeError(HecoreError, ValueError):
    """Shapes do not match, do not broadcast, or an axis is out of range."""


class PlaintextRangeError(HecoreError, ValueError):
    """A plaintext is NaN, infinite, or outside the declared range."""


class HeadroomError(HecoreError, ValueError):
    """The operation could overflow the plaintext space and was refused before it happened."""


class SlotOverflowError(HeadroomError):
    """A packed slot could overflow into its neighbour and the operation was refused."""


class LevelError(HecoreError, ValueError):
    """A ciphertext has no level left for the operation, or two are at levels that cannot meet."""


class ScaleError(HecoreError, ValueError):
    """Scales differ and cannot be made equal, or a scale does not fit the modulus."""


class MissingKeyError(HecoreError, ValueError):
    """A relinearization or Galois key is not at hand; the message names the call that makes it."""


class PrecisionError(HecoreError, ValueError):
    """The bits asked for do not survive the noise that keeps a published result safe."""


class QueryBudgetError(HecoreError, RuntimeError):
    """A key has published as many results as were declared; one more would break what was promised for them."""


class PlaintextOverflowError(HecoreError, OverflowError):
    """A decrypted value lies in the guard band around half the modulus: some operation overflowed."""


class NotInvertibleError(HecoreError, ValueError):
    """A residue has no inverse; `indices` names the flat positions."""

    def __init__(self, message: str, indices: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.indices = indices


class CiphertextError(HecoreError, ValueError):
    """A ciphertext is outside (0, n^2) or shares a factor with n."""


class KeyMismatchError(HecoreError, ValueError):
    """Two operands belong to different keys."""


class MalformedKeyError(HecoreError, ValueError):
    """A key fails its consistency checks."""


class SerializationError(HecoreError, ValueError):
    """Foreign bytes are truncated, altered, of an unknown version, or otherwise malformed."""


class KeystoreError(HecoreError, ValueError):
    """A keystore file is malformed or asks for parameters outside the accepted bounds."""


class WrongPassphraseError(KeystoreError):
    """The passphrase is wrong, or the file was altered; authenticated encryption cannot tell which."""


class RandomnessReuseError(HecoreError, RuntimeError):
    """Single-use randomness was requested twice, or after a fork."""


class PoolClosedError(HecoreError, RuntimeError):
    """An obfuscator pool was used after `close`."""


class BackendError(HecoreError, RuntimeError):
    """A backend failed."""


class BackendUnavailableError(BackendError):
    """The named device cannot be used; the message says what was looked for, found, and what to install."""


class CompileError(BackendError):
    """A device kernel did not compile; the message holds the compiler's own words, the line among them."""


class DeviceMemoryError(BackendError, MemoryError):
    """The device's memory is exhausted, with the smallest chunk too; the backend stays usable, nothing was lost."""


class DeviceLostError(BackendError):
    """The device, or this process's hold on it, is gone: the backend is not usable any more in this process."""


class BackendMismatchError(HecoreError, ValueError):
    """Operands live on different backends; `.to(device)` moves an array."""


class SelfTestError(BackendError):
    """A backend disagreed with the reference in its self-test and refuses to work."""


class ProtocolError(HecoreError, RuntimeError):
    """A party of a protocol received a message it did not expect, or none at all."""


class MissingExtraError(HecoreError, ImportError):
    """An optional dependency is missing; the message names the `pip install` line."""
