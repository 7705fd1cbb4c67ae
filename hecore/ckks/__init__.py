"""CKKS: approximate arithmetic on encrypted vectors of real or complex numbers."""
