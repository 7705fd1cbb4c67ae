"""Compiled texts, once a session: a library for each shape on the host, a program for each on the OpenCL device."""

from __future__ import annotations

import itertools
import os
import re
from typing import TYPE_CHECKING

import pytest

from tests.kernels.device.host import COMPILER, HERE, HostProgram, signatures, text_of
from tests.kernels.device.lab import SHORT, Lab, OpenClRunner, Runner, Shape, moduli

if TYPE_CHECKING:
    from collections.abc import Callable

# What CUDA runs, in blocks of a warp or, where warps must wait for each other, of two.
HOST_SHAPES = (
    Shape(1, 4, 28, 64),
    Shape(1, 12, 28, 32),
    Shape(1, 20, 28, 32),
    Shape(2, 19, 28, 64),
    Shape(2, 29, 28, 32),
    Shape(4, 19, 28, 64),
    Shape(4, 29, 27, 32),
    Shape(8, 19, 27, 64),
    Shape(8, 29, 27, 32),
    Shape(16, 19, 27, 32),
)
SQUARES_ALONE = ("encode", "export_quotient", "fixed_base_logarithmic")
# What OpenCL runs on a processor, modulo n and modulo n^2; compiling takes it seconds each, once for all tests.
OPENCL_CASES = ((Shape(1, 12, 28, 1), False), (Shape(1, 12, 28, 1), True), (Shape(1, 75, 28, 1), True))


def rows_of(shape: Shape) -> int:
    """Rows a step: on processors one is fastest."""
    return 1 if shape.block == 1 else max(rows for rows in (1, 2, 3, 4) if shape.width % rows == 0)


def primitives() -> tuple[str, dict[str, tuple[tuple[str, str], ...]]]:
    """The kernels of primitives.c, and their arguments as they stand there."""
    text = (HERE / "primitives.c").read_text()
    found = {}
    for name, arguments in re.findall(r"^KERNEL\((\w+)\)\((.*?)\) \{", text, re.MULTILINE | re.DOTALL):
        parts = [" ".join(argument.split()).rpartition(" ") for argument in arguments.split(",")]
        found[name] = tuple((kind, argument) for kind, _, argument in parts)
    return f'\n#line 1 "primitives.c"\n{text}', found


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A run for one device leaves out what the host's compiler shows: every other run has that."""
    here = {item for item in items if HERE in item.path.parents} if os.environ.get("HECORE_TEST_DEVICE") else set()
    on_it = {item for item in here if "opencl" in item.name or "device" in getattr(item, "fixturenames", ())}
    left_out = [item for item in items if item in here - on_it]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def host_program(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Shape, bool], HostProgram]:
    """`integer` at a shape; with square, what is in primitives.c too."""
    if COMPILER is None:
        pytest.skip("needs g++")
    folder = tmp_path_factory.mktemp("host")
    made: dict[tuple[Shape, bool], HostProgram] = {}

    def program(shape: Shape, square: bool) -> HostProgram:
        if (shape, square) not in made:
            text, kernels = text_of("integer"), dict(signatures("integer"))
            if square:
                more, arguments = primitives()
                text, kernels = text + more, {**kernels, **arguments}
            else:
                kernels = {name: kernels[name] for name in kernels if name not in SQUARES_ALONE}
            defines = shape.defines(rows_of(shape), square=square)
            made[shape, square] = HostProgram(folder, f"{shape}_{int(square)}", text, kernels, defines)
        return made[shape, square]

    return program


@pytest.fixture(params=HOST_SHAPES, ids=str, scope="session")
def shape(request: pytest.FixtureRequest) -> Shape:
    value: Shape = request.param
    return value


@pytest.fixture(scope="session")
def host(shape: Shape, host_program: Callable[[Shape, bool], HostProgram]) -> HostProgram:
    """`integer` and primitives.c at a shape."""
    return host_program(shape, True)


CASES = [
    (where, at, square, name)
    for where, shapes in (("host", itertools.product(HOST_SHAPES, (False, True))), ("opencl", OPENCL_CASES))
    for at, square in shapes
    for name in moduli(at)
]


def case_name(case: tuple[str, Shape, bool, str]) -> str:
    where, at, square, name = case
    return f"{where}-{at}-{'square' if square else 'plain'}-{name}"


def lab_of(case: tuple[str, Shape, bool, str], host_program: Callable[[Shape, bool], HostProgram]) -> Lab:
    where, at, square, name = case
    runner: Runner
    if where == "host":
        runner = host_program(at, square)
    else:
        runner = OpenClRunner("integer", at.defines(rows_of(at), square=square))
    return Lab(runner, at, moduli(at)[name], square=square)


@pytest.fixture(params=CASES, ids=case_name)
def lab(request: pytest.FixtureRequest, host_program: Callable[[Shape, bool], HostProgram]) -> Lab:
    return lab_of(request.param, host_program)


@pytest.fixture(params=[case for case in CASES if case[2]], ids=case_name)
def square_lab(request: pytest.FixtureRequest, host_program: Callable[[Shape, bool], HostProgram]) -> Lab:
    """Modulo a square alone."""
    return lab_of(request.param, host_program)


@pytest.fixture(params=[case for case in CASES if case[1].width < SHORT], ids=case_name)
def short_lab(request: pytest.FixtureRequest, host_program: Callable[[Shape, bool], HostProgram]) -> Lab:
    """For what no width changes."""
    return lab_of(request.param, host_program)
