"""Backends: one protocol, one registry, one file a device."""
