"""A reader at a shell, who does what a document says."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.documents import blocks, commands

_FIGURE = re.compile(r"\b\d+(?:\.\d+)? (?:B|[kMGT]B|h|s|members)\b|\b[0-9a-f]{12,}\b")
"""What differs from machine to machine: sizes, times, counts of members, digests."""


def follow(document: Path, folder: Path, env: Mapping[str, str], other_words: Mapping[str, str] | None = None) -> int:
    """Write and run what a document says, in order, and compare what it shows; return how many commands ran.

    A command may fail only if the document runs `echo $?` next. A `text` block is a part of what the last command
    printed. Sizes, times, counts and digests are compared by their form. What a command exports is set for those after
    it. `other_words` replaces what this machine has under another name; the folder is shown as PWD.
    """
    env = dict(env)

    def here(text: str) -> str:
        for word, other in (other_words or {}).items():
            text = text.replace(word, other)
        return text

    ran, status, said = 0, 0, ""
    for block in blocks(document):
        if block.file:
            (folder / block.file).write_text(here(block.text))
        if block.language == "text":
            assert comparable(here(block.text)) in comparable(said), f"{document} shows\n{block.text}\n{said}"
        for command in commands(block) if block.language == "console" else ():
            if command.line == "echo $?":
                assert command.shown == f"{status}\n", f"{document}: exit code {status}\n{said}"
                status = 0
                continue
            assert status == 0, f"{document}: exit code {status}\n{said}"
            if command.line.startswith("export ") and ";" not in command.line:
                env = exported(here(command.line), env)
                continue
            done = subprocess.run(
                ["bash", "-c", here(command.line)], cwd=folder, env=env, capture_output=True, text=True
            )
            status, said, ran = done.returncode, f"$ {command.line}\n{done.stdout}{done.stderr}", ran + 1
            shown = done.stdout.replace(str(folder), "PWD").rstrip("\n")
            if command.shown and comparable(shown) != comparable(here(command.shown).rstrip("\n")):
                pytest.fail(f"{document} shows\n{command.shown}\n{said}")
    assert status == 0, f"{document}: exit code {status}\n{said}"
    return ran


def exported(line: str, env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a shell after that line."""
    done = subprocess.run(["bash", "-c", f"{line} && env -0"], env=env, capture_output=True, text=True, check=True)
    return dict(each.split("=", 1) for each in done.stdout.rstrip("\0").split("\0"))


def comparable(text: str) -> str:
    """Replace figures by their unit, and runs of spaces, whose width follows the figures."""
    return re.sub(r" +", " ", _FIGURE.sub(lambda figure: f"<{figure[0].partition(' ')[2]}>", text))
