"""What this package says of itself; `__version__` is the version of the peer whose API it offers."""

__all__ = [
    "__author__",
    "__copyright__",
    "__email__",
    "__license__",
    "__summary__",
    "__title__",
    "__uri__",
    "__version__",
]

__title__ = "phe"
__summary__ = "The API of phe 1.5 on hecore"
__uri__ = "https://github.com/data61/python-paillier"
__version__ = "1.5.0"
__author__ = "hecore contributors"
__email__ = ""
__license__ = "MIT"
__copyright__ = "Copyright hecore contributors"
