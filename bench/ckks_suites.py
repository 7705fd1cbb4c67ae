"""Every CKKS suite by name, the operations that it measures, and at which parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from hecore.bench import ckks_drop_in as drop_in
from hecore.bench import ckks_linear as linear
from hecore.bench import ckks_scheme as scheme
from hecore.bench import ckks_wire as wire
from hecore.bench import ntt
from hecore.bench.ckks_plan import DEEP, MAIN, CkksPlan, ParameterSet
from hecore.bench.ckks_workbench import CkksBench
from hecore.bench.contest import Case
from hecore.bench.driver import Job
from hecore.errors import ParameterError

Build = Callable[[CkksBench, ParameterSet], Case]
BOTH = (MAIN, DEEP)
NTT = "ntt"


@dataclass(frozen=True)
class Operation:
    """A row's builder and the parameter sets it is measured at unless the plan names others."""

    build: Build
    at: tuple[ParameterSet, ...] = BOTH

    @property
    def name(self) -> str:
        return self.build.__name__.rstrip("_")


SUITES: dict[str, tuple[Operation, ...]] = {
    "encrypt": tuple(map(Operation, (scheme.encrypt, scheme.encrypt_symmetric, scheme.decrypt))),
    "arithmetic": tuple(
        map(
            Operation,
            (
                scheme.add,
                scheme.subtract,
                scheme.negate,
                scheme.add_plain,
                scheme.multiply_plain,
                scheme.multiply,
                scheme.square,
            ),
        )
    ),
    "evaluator": tuple(
        map(
            Operation,
            (
                scheme.multiply_raw,
                scheme.relinearize,
                scheme.rescale,
                scheme.drop_level,
                scheme.rotate,
                scheme.conjugate,
            ),
        )
    ),
    "vector": (Operation(linear.sum_), Operation(linear.dot), Operation(linear.dot_plain, (MAIN,))),
    "matrix": (Operation(linear.matvec_128x128, (MAIN,)), Operation(linear.matvec_784x64, (MAIN,))),
    "polynomial": (Operation(linear.polynomial_7, (DEEP,)),),
    "convolution": (Operation(linear.convolution, (MAIN,)),),
    "drop_in": tuple(
        Operation(build, (MAIN,))
        for build in (
            drop_in.drop_in_encrypt,
            drop_in.drop_in_decrypt,
            drop_in.drop_in_multiply,
            drop_in.drop_in_dot,
            drop_in.drop_in_matvec_128x128,
        )
    ),
    "wire": (Operation(wire.serialise), Operation(wire.deserialise)),
}


def names() -> tuple[str, ...]:
    """All suites, transforms first."""
    return (NTT, *SUITES)


def jobs(plan: CkksPlan) -> list[Job]:
    """Parameter sets outermost, so that keys serve all rows of their set in turn; transforms before all."""
    unknown = [suite for suite in plan.suites if suite not in names()]
    if unknown:
        raise ParameterError(f"cannot run suite {', '.join(unknown)}: there are {', '.join(names())}")
    bench = CkksBench(plan)
    chosen = list(plan.suites or names())
    operations = [operation for suite in chosen if suite != NTT for operation in SUITES[suite]]
    asked = tuple(map(ParameterSet.parse, plan.parameters))
    sets = dict.fromkeys(p for operation in operations for p in (asked or operation.at))
    found = ntt.jobs(plan) if NTT in chosen else []
    return found + [
        Job(operation.name, parameters.name, partial(operation.build, bench, parameters), parameters.insecure)
        for parameters in sets
        for operation in operations
        if parameters in (asked or operation.at)
    ]
