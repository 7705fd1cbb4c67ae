"""Polynomials in residue number systems: what CKKS builds on."""
