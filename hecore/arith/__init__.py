"""Exact reference arithmetic and the value types every backend shares."""
