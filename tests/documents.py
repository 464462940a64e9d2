"""What a document tells the reader to run and to write, taken from its fenced blocks."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CALLED = re.compile(r"called\s+`([^`]+)`(?:(?!\n\n)[^`])*:\n\n\Z")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the file that the reader writes it to ("" for none)."""

    language: str
    text: str
    file: str = ""


@dataclass(frozen=True)
class Command:
    """A line after "$ " and what the document shows of its standard output; nothing shown is nothing promised."""

    line: str
    shown: str


def documents() -> list[Path]:
    """List the Markdown files of the repository."""
    listed = subprocess.run(
        ["git", "-C", REPOSITORY, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.md"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [REPOSITORY / name for name in sorted(listed.stdout.split("\0")) if name and (REPOSITORY / name).is_file()]


def blocks(document: Path) -> Iterator[Block]:
    """Yield a document's fenced blocks in order."""
    text = document.read_text()
    for match in _FENCE.finditer(text):
        called = _CALLED.search(text[: match.start()])
        yield Block(match[1], match[2], called[1] if called else "")


def commands(block: Block) -> Iterator[Command]:
    """Yield the commands of a `console` block; a closing backslash continues a command."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        line, _, shown = re.sub(r"\\\n\s*", "", part).partition("\n")
        yield Command(line, shown)
