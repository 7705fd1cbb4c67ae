"""Every suite by name, and the operations that it measures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hecore.bench import modular, scheme, threads
from hecore.bench.contest import Case
from hecore.bench.driver import Job
from hecore.bench.plan import Plan
from hecore.bench.results import SECURE_KEY_BITS
from hecore.bench.workbench import Workbench
from hecore.errors import ParameterError

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
    "decrypt": (scheme.decrypt, scheme.decrypt_full, scheme.decrypt_one),
    "add": (scheme.add, scheme.add_one),
    "plain_mul": (scheme.plain_mul,),
    "matvec": (scheme.matvec,),
    "pack": (scheme.pack,),
    "threads": (threads.encrypt_two_threads, threads.decrypt_two_threads, threads.matvec_two_threads),
}


def operations(suites: tuple[str, ...]) -> dict[str, Build]:
    """Operation name -> how to build its case, for the named suites, all of them where none is named."""
    unknown = [suite for suite in suites if suite not in SUITES]
    if unknown:
        raise ParameterError(f"cannot run suite {', '.join(unknown)}: there are {', '.join(SUITES)}")
    return {build.__name__: build for suite in suites or tuple(SUITES) for build in SUITES[suite]}


def jobs(plan: Plan) -> list[Job]:
    """Sizes outermost, so that a key serves all rows of its size in turn."""
    chosen = operations(plan.suites)
    bench = Workbench(plan)
    return [
        Job(name, str(bits), partial(build, bench, bits), insecure=bits < SECURE_KEY_BITS)
        for bits in plan.key_bits
        for name, build in chosen.items()
    ]
