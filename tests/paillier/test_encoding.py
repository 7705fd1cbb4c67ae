"""Encodings: exactness, declared ranges, bounds from public facts alone, typed errors."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hecore.arith.limbs import limbs_for_bits
from hecore.errors import OperandTypeError, ParameterError, PlaintextRangeError, ShapeError
from hecore.paillier import FixedPoint, Floats, FloatsPerElement, Integers, plain, public
from hecore.paillier.encoding import Encoded, Encoding, EncodingChoice, decode, encode

fast = settings(max_examples=60, deadline=None)


def exact(encoded: Encoded) -> list[Any]:
    return list(decode(encoded.magnitudes, encoded.negative, encoded.encoding, exact=True).flat)


INTEGER_DTYPES = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


@pytest.mark.parametrize("dtype", INTEGER_DTYPES)
def test_integer_dtypes_bring_their_own_range(dtype: str) -> None:
    info = np.iinfo(dtype)
    encoded = encode(np.array([info.min, 0, 1, info.max], dtype=dtype))
    assert exact(encoded) == [info.min, 0, 1, info.max]
    assert encoded.bound == max(-int(info.min), int(info.max))
    assert encoded.signed == (info.min < 0)
    assert encoded.magnitudes.shape == (4, limbs_for_bits(encoded.bits))


def test_bool_is_zero_or_one() -> None:
    encoded = encode(np.array([True, False]))
    assert exact(encoded) == [1, 0]
    assert encoded.bound == 1
    assert not encoded.signed
    assert encode([True, False]).bound == 1
    assert encode(True).bound == 1


@pytest.mark.parametrize(
    "values", [0, 5, -7, [1, 2], [[3], [-4]], (1, np.int8(3)), range(4), np.array([1, 2], dtype=object)]
)
def test_python_integers_count_as_int64(values: Any) -> None:
    encoded = encode(values)
    assert exact(encoded) == [int(v) for v in np.ravel(np.asarray(values))]
    assert encoded.bound == 1 << 63
    assert encoded.encoding.kind == "integer"


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_every_small_float_is_exact(dtype: str) -> None:
    info = np.finfo(dtype)
    values = np.array([info.max, info.min, info.tiny, info.smallest_subnormal, 0.1, -0.0], dtype=dtype)
    encoded = encode(values)
    assert exact(encoded) == [Fraction(float(v)) for v in values]
    assert not encoded.encoding.per_element


def test_float_windows_depend_on_the_dtype_alone() -> None:
    for dtype in ("float16", "float32", "float64"):
        one, other = (encode(np.array(v, dtype=dtype)) for v in ([1.0, 2.0], [0.001, 3e4]))
        assert (one.encoding.exponent, one.bound) == (other.encoding.exponent, other.bound)


@fast
@given(st.lists(st.floats(-(2.0**63), 2.0**63).filter(lambda x: x == 0 or abs(x) >= 2.0**-108), min_size=1, max_size=6))
def test_ordinary_doubles_are_exact(values: list[float]) -> None:
    assert exact(encode(np.array(values))) == [Fraction(v) for v in values]
    np.testing.assert_array_equal(
        decode(encode(values).magnitudes, encode(values).negative, encode(values).encoding), values
    )


@pytest.mark.parametrize("value", [2.0**64, -(2.0**64), 1e300])
def test_doubles_above_the_window_are_refused(value: float) -> None:
    with pytest.raises(PlaintextRangeError, match=r"2\*\*64"):
        encode([value])


@pytest.mark.parametrize("value", [1e-40, 5e-324, 2.0**-161])
def test_doubles_below_the_window_are_refused_and_the_way_out_is_named(value: float) -> None:
    with pytest.raises(PlaintextRangeError, match=r"FixedPoint\(exponent=-160\) rounds.*Floats.*FloatsPerElement"):
        encode([value])
    assert exact(encode([value], Floats(-1074, 1024))) == [Fraction(value)]
    assert exact(encode([value], FloatsPerElement())) == [Fraction(value)]
    assert exact(encode([value], FixedPoint(-40))) == [0]


@fast
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=6))
def test_per_element_is_exact_for_every_double(values: list[float]) -> None:
    encoded = encode(values, FloatsPerElement())
    assert exact(encoded) == [Fraction(v) for v in values]
    assert encoded.bound == (1 << 53) - 1


@fast
@given(st.lists(st.fractions(-1000, 1000), min_size=1, max_size=6), st.integers(-40, 3))
def test_fixed_point_rounds_fractions_half_to_even(values: list[Fraction], exponent: int) -> None:
    unit = Fraction(2) ** exponent
    assert exact(encode(values, FixedPoint(exponent))) == [round(v / unit) * unit for v in values]


def test_fixed_point_range_is_checked_after_rounding() -> None:
    grid = FixedPoint(0, bits=4)
    assert exact(encode([15.5 - 2**-40, -15.25], grid)) == [15, -15]
    with pytest.raises(PlaintextRangeError):
        encode([15.5], grid)  # rounds to 16


def test_mixed_python_numbers_stay_exact() -> None:
    """NumPy alone would make float64 of both and lose the last bit of the integer."""
    assert exact(encode([2**53 + 1, 0.5])) == [2**53 + 1, Fraction(1, 2)]
    assert exact(encode([Fraction(3, 8), 1, np.float32(0.1), np.longdouble(0.25), True])) == [
        Fraction(3, 8), 1, Fraction(float(np.float32(0.1))), Fraction(1, 4), 1,
    ]  # fmt: skip
    assert exact(encode(np.array([0.1, 3], dtype=np.longdouble))) == [Fraction(0.1), 3]


def test_fractions_of_numpy_integers_do_not_wrap() -> None:
    small: Any = np.int8
    assert exact(encode([Fraction(small(100), small(8))])) == [Fraction(25, 2)]


@pytest.mark.parametrize("values", [2**63 + 1, [2**64, 0], [2**63 + 5, -1], np.array([10**30], dtype=object)])
def test_big_integers_need_a_declared_size(values: Any) -> None:
    with pytest.raises(PlaintextRangeError, match=r"Integers\(bits=...\)"):
        encode(values)
    flat = [int(v) for v in np.ravel(np.array(values, dtype=object))]
    assert exact(encode(values, Integers(100))) == flat
    assert encode(values, Integers(100)).bound == 2**100 - 1
    assert exact(encode(plain(values, bits=100))) == flat


@pytest.mark.parametrize("values", [[8], [-8], np.array([8], dtype=np.uint8), np.array([-8])])
def test_integers_outside_the_declared_range(values: Any) -> None:
    with pytest.raises(PlaintextRangeError, match="bits=3"):
        encode(values, Integers(3))


def test_bounds_ignore_the_data() -> None:
    for choice in (None, Integers(40), FixedPoint(-10), Floats(-5, 40)):
        assert encode(np.array([0, 1]), choice).bound == encode(np.array([12345, -678]), choice).bound


def test_public_operands_follow_their_values() -> None:
    encoded = encode(public([6.0, -0.75]))
    assert (encoded.encoding.exponent, encoded.bound) == (-2, 24)
    assert exact(encoded) == [6, Fraction(-3, 4)]
    assert encode(public(3)).bound == 3
    assert encode(public(10**40)).bound == 10**40
    assert encode(public(0)).bound == 0
    with pytest.raises(PlaintextRangeError, match="power of two"):
        encode(public(Fraction(1, 3)))


@pytest.mark.parametrize(
    "values",
    [
        float("nan"),
        [1.0, float("inf")],
        np.array([-np.inf]),
        np.array([np.nan], dtype="longdouble"),
        [1, float("nan"), Fraction(1)],
    ],
)
@pytest.mark.parametrize("choice", [None, FixedPoint(-3), FloatsPerElement()])
def test_nan_and_infinity(values: Any, choice: EncodingChoice | None) -> None:
    with pytest.raises(PlaintextRangeError, match="NaN"):
        encode(values, choice)


@pytest.mark.parametrize(
    "values",
    [None, "12", b"12", ["1"], [None], 1j, [1, 2j], np.array([1j]), np.array(["a"]), np.zeros(1, "M8[D]"), {1, 2},
    {}, object()],
)  # fmt: skip
def test_what_is_no_number(values: Any) -> None:
    with pytest.raises(OperandTypeError, match="cannot encode"):
        encode(values)


MASKED = np.ma.MaskedArray([1, 2, 3], mask=[False, True, False])


@pytest.mark.parametrize(
    "values", [MASKED, MASKED[0:1], [1, [MASKED, 2]], np.ma.masked, (1, np.ma.masked), np.ma.MaskedArray(3)]
)
def test_a_mask_is_not_lost(values: Any) -> None:
    for operand in (values, plain(values, bits=8), public(values)):
        with pytest.raises(OperandTypeError, match="mask"):
            encode(operand)


@pytest.mark.parametrize("values", [[], [[]], np.zeros((3, 0)), np.zeros(0, dtype=np.int8), range(0)])
def test_empty_arrays(values: Any) -> None:
    with pytest.raises(ShapeError, match="empty"):
        encode(values)


def test_ragged_input() -> None:
    with pytest.raises(ShapeError, match="unequal"):
        encode([[1, 2], [3]])


def test_encoding_of_another_kind_of_number() -> None:
    with pytest.raises(OperandTypeError, match="Integers"):
        encode([0.5], Integers(8))
    with pytest.raises(OperandTypeError, match="FloatsPerElement"):
        encode([1], FloatsPerElement())
    with pytest.raises(OperandTypeError, match="cannot encode with str"):
        encode([1], "int8")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Integers(0), lambda: Integers(1 << 17), lambda: Integers(True),
        lambda: Integers(2.0),  # type: ignore[arg-type]
        lambda: Floats(3, 3), lambda: Floats(4, 3), lambda: FixedPoint(0, 0),
        lambda: FixedPoint(1.5),  # type: ignore[arg-type]
        lambda: FixedPoint(-(1 << 20)), lambda: plain(1, Integers(3), bits=3),
    ],
)  # fmt: skip
def test_parameters_are_checked(make: Any) -> None:
    with pytest.raises(ParameterError):
        make()


def test_results_beyond_float64() -> None:
    encoded = encode([2], FixedPoint(1, 3))
    big = Encoding("fixed", 1100)
    with pytest.raises(PlaintextRangeError, match="exact=True"):
        decode(encoded.magnitudes, encoded.negative, big)
    assert decode(encoded.magnitudes, encoded.negative, big, exact=True).tolist() == [Fraction(2**1100)]


def test_integers_come_back_as_int64_where_they_fit() -> None:
    for values, dtype in (
        ([1, -(2**63) + 1], np.int64),
        ([-(2**63), 2**63 - 1, 0], np.int64),
        (-(2**63), np.int64),
        ([1, 2**63], np.object_),
        ([1, -(2**63) - 1], np.object_),
    ):
        encoded = encode(values, Integers(70))
        got = decode(encoded.magnitudes, encoded.negative, encoded.encoding)
        assert got.dtype == dtype
        assert got.tolist() == values


def test_secrets_stay_out_of_reprs_and_messages() -> None:
    encoded = encode([123456789])
    assert "123456789" not in repr(encoded)
    assert "123456789" not in repr(plain(123456789))
    with pytest.raises(PlaintextRangeError) as caught:
        encode([123456789], Integers(5))
    assert "123456789" not in str(caught.value)
