"""What CKKS on the CPU must reach. One thread, ratios of one run."""

from __future__ import annotations

from hecore.bench.ckks_plan import DEEP, MAIN, PAYLOAD, PEER, SEAL
from hecore.bench.targets import Target, percent_of_floor, ratio, share

NTT_SIZE = "16384, 49 bits"


_NO_LARGER = 1.02
"""Fresh errors have one distribution in both libraries; two keys of different weight set them a per cent apart."""


def _against_peer(text: str, bound: float, operation: str, size: str) -> Target:
    return Target(f"{text}, {size}, against {PEER}", bound, ratio(operation, size, PEER))


CKKS = (
    Target(f"forward NTT, {NTT_SIZE}, against {SEAL}", 6, ratio("ntt", NTT_SIZE, SEAL)),
    Target(f"forward NTT, {NTT_SIZE}, of the counted floor", 40, percent_of_floor("ntt", NTT_SIZE), " %"),
    _against_peer("ct × ct, relinearised and rescaled", 3, "multiply", MAIN.name),
    _against_peer("ct × ct, relinearised and rescaled", 4, "multiply", DEEP.name),
    *(
        _against_peer(text, 3, operation, parameters.name)
        for parameters in (MAIN, DEEP)
        for text, operation in (("encrypt", "encrypt"), ("decrypt", "decrypt"), ("ct × pt", "multiply_plain"))
    ),
    _against_peer("sum of 4096 values", 4, "sum", MAIN.name),
    _against_peer("dot product of 4096 values", 4, "dot", MAIN.name),
    _against_peer("128×128 matrix × encrypted vector", 10, "matvec_128x128", MAIN.name),
    _against_peer("784×64 matrix × encrypted vector", 10, "matvec_784x64", MAIN.name),
    _against_peer("polynomial of degree 7", 4, "polynomial_7", DEEP.name),
    *(
        Target(f"{what}, {size}, over {PEER}'s", _NO_LARGER, share(what, size, PEER), at_most=True)
        for what, size in (
            ("error of encryption", MAIN.name),
            ("error of ct × ct", MAIN.name),
            ("error of a dot product", MAIN.name),
            ("error of a polynomial of degree 7", DEEP.name),
        )
    ),
    *(
        Target(f"{what}, {PAYLOAD.name}, over {PEER}'s", bound, share(what, PAYLOAD.name, PEER), at_most=True)
        for what, bound in (("symmetric ciphertext, compact", 0.45), ("symmetric ciphertext, SEAL's form", 0.55))
    ),
)
