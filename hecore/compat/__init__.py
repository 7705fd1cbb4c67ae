"""Drop-ins for peers' libraries: `from hecore.compat import phe` replaces `import phe`.

What a peer allows and hecore does not (tiny keys, unrandomised ciphertexts, secret keys in the clear) lives below
this package and nowhere else.
"""
