"""Every suite by name, and the operations that it measures."""

from __future__ import annotations

from collections.abc import Callable

from hecore.bench import modular, scheme, threads
from hecore.bench.contest import Case
from hecore.bench.workbench import Workbench

Build = Callable[[Workbench, int], Case]

SUITES: dict[str, tuple[Build, ...]] = {
    "modular": (
        modular.mod_mul_plain,
        modular.mod_mul,
        modular.mod_sqr,
        modular.mod_exp,
        modular.mod_exp_public,
        modular.fixed_base,
    ),
    "encrypt": (scheme.encrypt, scheme.encrypt_own, scheme.encrypt_one),
    "decrypt": (scheme.decrypt, scheme.decrypt_one),
    "add": (scheme.add, scheme.add_one),
    "plain_mul": (scheme.plain_mul,),
    "matvec": (scheme.matvec,),
    "pack": (scheme.pack,),
    "threads": (threads.encrypt_two_threads, threads.decrypt_two_threads, threads.matvec_two_threads),
}


def operations(suites: tuple[str, ...]) -> dict[str, Build]:
    """Operation name -> how to build its case, for the named suites, all of them where none is named."""
    return {build.__name__: build for suite in suites or tuple(SUITES) for build in SUITES[suite]}
