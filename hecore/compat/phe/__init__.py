"""The API of `phe` 1.5 (python-paillier) on hecore: `from hecore.compat import phe` replaces `import phe`.

Written from the peer's documented API and observed behaviour, not from its source. docs/compat-phe.md says what
differs; new code is better off with `hecore.paillier`.
"""

from hecore.compat.phe import command_line, encoding, paillier, util
from hecore.compat.phe.__about__ import (
    __author__,
    __copyright__,
    __email__,
    __license__,
    __summary__,
    __title__,
    __uri__,
    __version__,
)
from hecore.compat.phe._errors import CiphertextProductError, DomainError, InsecureWarning
from hecore.compat.phe.encoding import EncodedNumber
from hecore.compat.phe.paillier import (
    EncryptedNumber,
    PaillierPrivateKey,
    PaillierPrivateKeyring,
    PaillierPublicKey,
    generate_paillier_keypair,
)

__all__ = [
    "CiphertextProductError",
    "DomainError",
    "EncodedNumber",
    "EncryptedNumber",
    "InsecureWarning",
    "PaillierPrivateKey",
    "PaillierPrivateKeyring",
    "PaillierPublicKey",
    "__author__",
    "__copyright__",
    "__email__",
    "__license__",
    "__summary__",
    "__title__",
    "__uri__",
    "__version__",
    "command_line",
    "encoding",
    "generate_paillier_keypair",
    "paillier",
    "util",
]
