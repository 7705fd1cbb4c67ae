"""Peak memory of one large encryption, measured in a process of its own.

`python -m hecore.bench.memory --values N` encrypts N values in one call and prints JSON: how far the peak rose
above what the process held before, beside the size of the ciphertexts. Streaming keeps the two close.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

VALUES = 1_000_000
CHECKED = 256  # results decrypted and compared, evenly spaced
WARM_UP = 1024  # values encrypted before, so that compiled code is there


def measure(values: int, key_bits: int, device: str) -> dict[str, Any]:
    """Run the measurement in a fresh process; RuntimeError with its last line where it fails."""
    command = [sys.executable, "-m", "hecore.bench.memory", "--values", str(values)]
    command += ["--key-bits", str(key_bits), "--device", device]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise RuntimeError(f"the memory measurement ended with {done.returncode}: {last}")
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def in_this_process(values: int, key_bits: int, device: str) -> Mapping[str, Any]:
    """Encrypt `values` values and report bytes; RuntimeError where a result decrypts wrongly."""
    import numpy as np

    from hecore import paillier
    from hecore.backends import registry
    from hecore.bench.data import signed_integers
    from hecore.bench.results import SECURE_KEY_BITS

    registry.use(device)
    generate = paillier.generate_keypair if key_bits >= SECURE_KEY_BITS else paillier.generate_insecure_keypair
    public_key, secret_key = generate(key_bits)
    plain = signed_integers(values, seed=60)
    public_key.fixed_base(registry.current()).prepare()
    public_key.encrypt(plain[:WARM_UP])
    before = status_bytes("VmRSS")
    start = time.perf_counter()
    ciphertexts = public_key.encrypt(plain)
    seconds = time.perf_counter() - start
    peak = status_bytes("VmHWM")  # not ru_maxrss, which starts from what the parent held at the fork
    positions = np.linspace(0, values - 1, min(CHECKED, values)).astype(np.intp)
    if not np.array_equal(secret_key.decrypt(ciphertexts[positions]), plain[positions]):
        raise RuntimeError("a ciphertext of the memory measurement decrypted to a wrong value")
    size = values * public_key.n_squared.limbs * 8
    return {
        "values": values,
        "key_bits": key_bits,
        "ciphertext_bytes": size,
        "peak_growth_bytes": peak - before,
        "growth_over_size": (peak - before) / size,
        "seconds": seconds,
    }


def status_bytes(field: str) -> int:
    """A size from /proc/self/status: VmRSS, what this process holds now, or VmHWM, the most it ever held."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field} line")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report as one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m hecore.bench.memory", description=__doc__)
    parser.add_argument("--values", type=int, default=VALUES)
    parser.add_argument("--key-bits", type=int, default=2048)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(argv)
    print(json.dumps(in_this_process(options.values, options.key_bits, options.device)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
