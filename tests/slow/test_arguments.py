"""500 argument sets that nobody thought of: commands end with a sentence, the right code, and their one JSON object."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main

from kmex_core.commands import app
from tests.helpers.datasets import write_folder
from tests.helpers.pictures import encoded
from tests.helpers.processes import CONTEXT

pytestmark = pytest.mark.slow

SETS = int(os.environ.get("KMEX_ARGUMENT_SETS", "500"))
PATIENCE = 20.0  # seconds until a command that does real work is stopped as by Ctrl-C
HOSTILE = (
    "", " ", "0", "-1", "1", "2", "3:1", "1:2", "1:x", "999999999999", "4294967296", "1e400", "nan", "inf", "-inf",
    "0.5", "true", "None", "a" * 300, "a/" * 200, "../../etc/passwd", "/", "/dev/null", "/dev/zero", "~nosuchuser",
    "~", ".", "\udcff\udcfe", "\u202eabc", "😀", "a\nb", "%s%n", "$(touch x)", "'; drop", "=1+1", "--json", "--", "-",
    "*", "meta", "cuda", "cuda:99", "cpu", "mps", "xla", "digits", "faces", "digits-flint", "mnist", "celeba",
    "resnet20", "resnet18", "vit_b_16", "no=such", "=", "warm=x", "accuracy", "accuracy,accuracy", "ghosting,none",
    "latex", "json", "text", "1,2,3", "0,0,0", "a,b,c", ",", "none", "flip-crop", "prp", "auto",
)  # fmt: skip


@dataclass
class Ended:
    arguments: list[str]
    code: int
    stdout: str
    stderr: str
    interrupted: bool

    def __str__(self) -> str:
        output = f"--- stdout\n{self.stdout[-800:]}\n--- stderr\n{self.stderr[-1500:]}"
        return f"{self.arguments!r} exited with {self.code}\n{output}"


def child(arguments: list[str], folder: Path, closed: tuple[int, ...], encoding: str) -> None:
    """Be the command line `arguments`, with its output in files and the standard streams `closed` missing."""
    import sys

    os.chdir(folder)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 (these three live as long as the process)
    sys.stdout = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding=encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115
    for descriptor in closed:
        os.close(descriptor)
        setattr(sys, ("stdin", "stdout", "stderr")[descriptor], None)
    sys.argv = ["kmex_core", *arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    app()


def run(arguments: list[str], folder: Path, closed: tuple[int, ...], encoding: str) -> Ended:
    """Run a command line in a child of a process that has imported what commands import, and computed nothing."""
    process = CONTEXT.Process(target=child, args=(arguments, folder, closed, encoding))
    process.start()
    assert process.pid is not None
    process.join(PATIENCE)
    interrupted = process.is_alive()
    if interrupted:
        os.kill(process.pid, signal.SIGINT)
        process.join(60)
        process.kill()
        process.join()
    paths = [folder / name for name in ("stdout", "stderr")]
    texts = [path.read_bytes().decode(encoding, "replace") if path.exists() else "" for path in paths]
    for path in paths:
        path.unlink(missing_ok=True)
    return Ended(arguments, process.exitcode or 0, texts[0], texts[1], interrupted)


def argument_set(draw: random.Random, commands: dict[str, Any], files: list[str]) -> list[str]:
    """A command with some of its options, most of them with values that it did not ask for."""
    name = draw.choice(sorted(commands))
    values = [*HOSTILE, *files]
    arguments, command = [name], commands[name]
    if hasattr(command, "commands") and draw.random() < 0.9:  # of `store verify` and the like, mostly a whole one
        inner = draw.choice(sorted(command.commands))
        arguments, command = [name, inner], command.commands[inner]
    for option in command.params:
        required = getattr(option, "required", False)
        if draw.random() > (0.9 if required else 0.3) or "--help" in option.opts:
            continue
        flag = bool(getattr(option, "is_flag", False))
        if option.param_type_name == "argument":
            arguments.append(draw.choice(values))
        else:
            chosen = draw.choice([*option.opts, *option.secondary_opts])
            likely = {"--model": "digits", "--models": "digits", "--dataset": files[0], "--name": "fuzzed"}.get(chosen)
            value = likely if likely and draw.random() < 0.7 else draw.choice(values)
            if chosen == "--out" and value.startswith(("/dev", "/", "~", "..")) and value not in files:
                value = "out"  # this may run as root: should the product write over devices again, not over these
            arguments += [chosen] if flag else [chosen, value] if draw.random() < 0.95 else [chosen]
    if draw.random() < 0.5 and "--json" not in arguments:
        arguments.append("--json")
    return arguments


def test_every_argument_set_ends_well(demo_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KMEX_CACHE", str(demo_cache))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    data = write_folder(tmp_path / "data", ("left", "right"), 6, 2, size=16)
    picture = tmp_path / "picture.png"
    picture.write_bytes(encoded(np.zeros((8, 8, 3), np.uint8)))
    (tmp_path / "text").write_text("no picture")
    os.mkfifo(tmp_path / "pipe")
    files = [str(data), str(picture), *(str(tmp_path / name) for name in ("text", "pipe", "new", "data/train/left"))]
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    commands = dict(group.commands)
    del commands["app"]  # becomes Streamlit's server, which ends by that one's rules (tests/test_wheel.py)
    draw = random.Random(20261126)
    wrong: list[str] = []
    codes: dict[int, int] = {}
    began = time.monotonic()
    for number in range(SETS):
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        closed = draw.choice([(), (), (), (0,), (1,), (2,), (0, 1, 2)])
        encoding = draw.choice(["utf-8", "utf-8", "cp1252", "ascii"])
        arguments = argument_set(draw, commands, files)
        ended = run(arguments, folder, closed, encoding)
        codes[ended.code] = codes.get(ended.code, 0) + 1
        problems = []
        if ended.code not in (0, 1, 2, 130):
            problems.append("exit code")
        if ended.code == 1 and "Unexpected error" in ended.stdout + ended.stderr:
            problems.append("nobody thought of this")
        if ended.interrupted and ended.code not in (0, 130):
            problems.append("interrupt")
        if "Traceback" in ended.stderr:
            problems.append("traceback")
        sentences = ("Error: ", "Stopped.", *(["Usage: "] if arguments == ["store"] else []))  # which gets its help
        if ended.code and 2 not in closed and not any(text in ended.stderr for text in sentences):
            problems.append("no sentence")
        if "--json" in arguments and 1 not in closed and ended.code:
            lines = ended.stdout.splitlines()
            if len(lines) != 1 or set(json.loads(lines[0])) != {"error"}:
                problems.append("not one JSON object")
        if problems:
            log = "".join(path.read_text() for path in tmp_path.glob("kmex-error-*.log"))[-1500:]
            wrong.append(f"{number}: {', '.join(problems)}: closed {closed}, {encoding}: {ended}\n{log}")
        for path in tmp_path.glob("kmex-error-*.log"):
            path.unlink()
    print(f"{SETS} argument sets in {time.monotonic() - began:.0f} s, by exit code: {dict(sorted(codes.items()))}")
    assert len(codes) >= 3, codes
    assert not wrong, "\n\n".join(wrong[:20])
