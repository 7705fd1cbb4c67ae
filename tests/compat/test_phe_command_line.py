"""`hecore-pheutil` beside the peer's `pheutil`: the same files, in both directions."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import phe.command_line as peer
import pytest
from click.testing import CliRunner, Result

from hecore import errors
from hecore.compat.phe import command_line as ours

ROOT = Path(__file__).parents[2]
TOOLS = {"ours": ours, "peer": peer}
SIZE = "256"


def run(tool: Any, *arguments: object) -> Result:
    return CliRunner().invoke(tool.cli, [str(argument) for argument in arguments])


def done(tool: Any, *arguments: object) -> Result:
    result = run(tool, *arguments)
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize("maker", TOOLS)
@pytest.mark.parametrize("worker", TOOLS)
@pytest.mark.parametrize("reader", TOOLS)
def test_files_travel_between_the_two(tmp_path: Path, maker: str, worker: str, reader: str) -> None:
    private, public, a, b, c = (tmp_path / name for name in ("private", "public", "a", "b", "c"))
    done(TOOLS[maker], "genpkey", "--keysize", SIZE, private)
    done(TOOLS[worker], "extract", private, public)
    done(TOOLS[maker], "encrypt", "--output", a, public, "--", "-3.5")
    done(TOOLS[worker], "encrypt", "--output", b, public, "10")
    for command, expected in (
        (("addenc", "--output", c, public, a, b), 6.5),
        (("add", "--output", c, public, a, "--", "-1.25"), -4.75),
        (("multiply", "--output", c, public, a, "2"), -7.0),
    ):
        done(TOOLS[worker], *command)
        assert float(done(TOOLS[reader], "decrypt", private, c).stdout) == expected
        number = json.loads(c.read_text())
        assert number["e"] == -32 if command[0] != "multiply" else number["e"] <= -32
    assert json.loads(a.read_text())["e"] == -32


def test_stdout_carries_the_result_alone(tmp_path: Path) -> None:
    result = done(ours, "genpkey", "--keysize", SIZE, "--id", "Alice's", "-")
    key = json.loads(result.stdout)
    assert key["kid"] == key["pub"]["kid"] == "Alice's"
    private = tmp_path / "private"
    private.write_text(result.stdout)
    public = tmp_path / "public"
    public.write_text(done(ours, "extract", private, "-").stdout)
    assert set(json.loads(public.read_text())) == {"kty", "alg", "key_ops", "n", "kid"}
    number = tmp_path / "number"
    encrypted = done(ours, "encrypt", public, "123456.5")
    number.write_text(encrypted.stdout)
    assert "123456" not in encrypted.stderr
    decrypted = done(ours, "decrypt", private, number)
    assert decrypted.stdout == "123456.5\n"
    assert "123456" not in decrypted.stderr


def test_a_key_in_the_clear_warns_and_belongs_to_its_owner(tmp_path: Path) -> None:
    private = tmp_path / "private"
    result = done(ours, "genpkey", "--keysize", SIZE, private)
    assert "in the clear" in result.stderr
    assert "256-bit key protects nothing" in result.stderr
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert "protects nothing" not in done(ours, "genpkey", private).stderr  # 2048 bits


def test_users_errors_are_one_line(tmp_path: Path) -> None:
    private, public, number, other = (tmp_path / name for name in ("private", "public", "number", "other"))
    done(ours, "genpkey", "--keysize", SIZE, private)
    done(ours, "extract", private, public)
    done(ours, "encrypt", "--output", number, public, "1")
    other.write_text("{}")
    key = json.loads(private.read_text())
    wrong = tmp_path / "wrong"
    wrong.write_text(json.dumps({**key, "p": key["q"]}))
    zero = tmp_path / "zero"
    zero.write_text('{"v": "0", "e": -32}')
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for arguments in (
        ("encrypt", public, "abc"),
        ("encrypt", public, "inf"),
        ("encrypt", public, "1e400"),
        ("encrypt", public, "1e60"),
        ("encrypt", other, "1"),
        ("encrypt", binary, "1"),
        ("encrypt", private, "1"),
        ("decrypt", public, number),
        ("decrypt", private, other),
        ("decrypt", private, zero),
        ("decrypt", wrong, number),
        ("genpkey", "--keysize", "5", tmp_path / "never"),
        ("genpkey", "--keysize", SIZE, tmp_path / "missing" / "never"),
        ("extract", public, tmp_path / "never"),
        ("multiply", public, number, "nan"),
    ):
        result = run(ours, *arguments)
        assert result.exit_code == 1, arguments
        assert result.stdout == ""
        assert result.stderr.splitlines()[-1].startswith("Error: cannot ")
    for wrong_usage in (
        ("encrypt", tmp_path / "missing", "1"),
        ("encrypt",),
        ("nothing",),
        ("genpkey", tmp_path),
    ):
        assert run(ours, *wrong_usage).exit_code == 2
    assert not (tmp_path / "never").exists()


def test_help_names_the_same_commands_and_options() -> None:
    assert set(ours.cli.commands) == set(peer.cli.commands)
    for name, command in peer.cli.commands.items():
        theirs = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        mine = {option for parameter in ours.cli.commands[name].params for option in parameter.opts}
        assert theirs <= mine
        assert "Usage" in done(ours, name, "--help").output
    assert done(ours, "--version").exit_code == 0
    assert ours.encrypt is ours.cli.commands["encrypt"]
    with pytest.raises(AttributeError):
        getattr(ours, "nothing")  # noqa: B009


@pytest.mark.filterwarnings("ignore::hecore.compat.phe.InsecureWarning")
def test_serialised_numbers_are_obfuscated_and_hide_their_exponent(tmp_path: Path) -> None:
    from hecore.compat.phe import generate_paillier_keypair

    public_key, private_key = generate_paillier_keypair(n_length=256)
    x = public_key.encrypt(5, r_value=7)
    path = tmp_path / "number"
    path.write_text(ours.serialise_encrypted(x))
    with path.open() as file:
        y = ours.load_encrypted_number(file, public_key)
    assert y.exponent == -32
    assert y.ciphertext(False) != x.decrease_exponent_to(-32).ciphertext(False)
    assert private_key.decrypt(y) == 5


BLOCK_CLICK = "import sys; sys.modules['click'] = None; "


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_click_is_needed_for_the_commands_alone() -> None:
    assert python(BLOCK_CLICK + "import hecore.compat.phe as phe; phe.command_line.load_public_key").returncode == 0
    assert python("import sys, hecore.compat.phe; assert 'click' not in sys.modules").returncode == 0
    run = python(BLOCK_CLICK + "from hecore.compat.phe import command_line as c; sys.exit(c.main())")
    assert run.returncode == 1
    assert run.stderr == "Error: the command line needs click, which is not installed: pip install 'hecore[phe-cli]'\n"
    run = python(BLOCK_CLICK + "from hecore.compat.phe.command_line import cli")
    assert "MissingExtraError" in run.stderr


def test_the_missing_extra_is_an_import_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "click", None)
    ours._group.cache_clear()
    with pytest.raises(errors.MissingExtraError):
        ours.cli  # noqa: B018
