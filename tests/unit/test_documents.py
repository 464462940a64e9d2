"""Every fenced block of every document is of a kind that a test runs, validates or parses."""

import ast
import json
import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.documents import REPOSITORY, Block, blocks, documents

FOLLOWED = {"README.md", "docs/tutorial/first-template.md"}
"""Pages outside of the how-to directory whose console blocks a test follows, with the real programs."""


def parse_shell(text: str) -> None:
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def parse_python(text: str) -> None:
    """Parse statements, or the signature of a function."""
    try:
        ast.parse(text)
    except SyntaxError:
        ast.parse(f"def {text.rstrip()}: ...")


PARSERS: dict[str, Callable[[str], object]] = {
    "json": json.loads,
    "toml": tomllib.loads,
    "python": parse_python,
    "sh": parse_shell,
}
ELSEWHERE = {"console", "text", "dockerfile", "make", "hcl"}
"""Run by those who follow a page; hcl is validated by tests/integration/test_document_hcl.py."""
ALL = [(page, block) for page in documents() for block in blocks(page)]


@pytest.mark.parametrize(("page", "block"), ALL, ids=[f"{page.relative_to(REPOSITORY)}" for page, _ in ALL])
def test_a_block_is_of_a_kind_that_is_tested(page: Path, block: Block) -> None:
    name = str(page.relative_to(REPOSITORY))
    if block.language == "console":
        assert name in FOLLOWED or name.startswith("docs/how-to/"), "no test follows the commands of this page"
    elif block.language in PARSERS:
        PARSERS[block.language](block.text)
    else:
        assert block.language in ELSEWHERE


def messages() -> list[tuple[str, str]]:
    """The messages in the tables whose first column is called so, each with its page."""
    found = []
    for page in documents():
        in_table = False
        for line in page.read_text().splitlines():
            in_table = line.startswith("| message |") or (in_table and line.startswith("|"))
            if in_table:
                cell = line.split("|")[1]
                found += [(str(page.relative_to(REPOSITORY)), each) for each in re.findall(r"`([^`]+)`", cell)]
    return found


@pytest.fixture(scope="module")
def strings() -> str:
    """All strings of the code, with a line for each."""
    texts = []
    for file in sorted((REPOSITORY / "lxcast").rglob("*.py")):
        nodes = ast.walk(ast.parse(file.read_text()))
        texts += [each.value for each in nodes if isinstance(each, ast.Constant) and isinstance(each.value, str)]

    return "\n".join(texts)


@pytest.mark.parametrize(("page", "message"), messages())
def test_a_message_that_a_page_explains_is_one_of_the_code(page: str, message: str, strings: str) -> None:
    """Dots and URLs stand for values."""
    for part in re.split(r"\.\.\.|https?://\S*", message):
        assert part.strip() in strings, f"{page} explains {message!r}"
