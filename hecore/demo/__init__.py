"""The protocols that `hecore demo` runs."""
