"""A reader at a shell, who does what a document says."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.documents import blocks, commands


def follow(document: Path, folder: Path, env: Mapping[str, str], other_words: Mapping[str, str] | None = None) -> int:
    """Write and run what a document says, in order, and compare what it shows; return how many commands ran.

    A command fails only where the document asks for `echo $?` next. A `text` block is a part of what the last command
    said, on either output. `other_words` replaces what this machine has under another name; the folder is shown as PWD.
    """

    def here(text: str) -> str:
        for word, other in (other_words or {}).items():
            text = text.replace(word, other)
        return text

    ran, status, said = 0, 0, ""
    for block in blocks(document):
        if block.file:
            (folder / block.file).write_text(here(block.text))
        if block.language == "text":
            assert here(block.text) in said, f"{document} shows\n{block.text}\n{said}"
        for command in commands(block) if block.language == "console" else ():
            if command.line == "echo $?":
                assert command.shown == f"{status}\n", f"{document}: exit code {status}\n{said}"
                status = 0
                continue
            assert status == 0, f"{document}: exit code {status}\n{said}"
            done = subprocess.run(
                ["bash", "-c", here(command.line)], cwd=folder, env=dict(env), capture_output=True, text=True
            )
            status, said, ran = done.returncode, f"$ {command.line}\n{done.stdout}{done.stderr}", ran + 1
            shown = done.stdout.replace(str(folder), "PWD").rstrip("\n")
            if command.shown and shown != here(command.shown).rstrip("\n"):
                pytest.fail(f"{document} shows\n{command.shown}\n{said}")
    assert status == 0, f"{document}: exit code {status}\n{said}"
    return ran
