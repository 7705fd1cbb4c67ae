"""The version of the peer whose API this package offers."""

__version__ = "0.3.18"
