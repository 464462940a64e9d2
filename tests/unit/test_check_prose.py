"""scripts/check-prose finds the forms that plain English does not use, where people read them, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

FOUND = [
    ("x is no storage id", "is no"),
    ("Unsaid: the newest that the storage has.", "Unsaid"),
    ("told by its content", "told by"),
    ("the template that is there already", "is there already"),
    ("The authorities that vouch for it", "vouch"),
    ("lxcast judges any archive", "judges"),
    ("the folder of a storage", "folder"),
    ("Of a bundle the digest is known.", "Of a"),
    ("Where it is missing, nothing is written.", "Where it is missing,"),
    ("fix it when the cause is mended", "mended"),
]


def check(file: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, REPOSITORY / "scripts/check-prose", file], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert done.returncode == (0 if lines[-1].endswith("fine") else 1)
    return [line.removeprefix(f"{file}:") for line in lines]


@pytest.mark.parametrize(("text", "form"), FOUND)
def test_a_form_is_found_in_a_document_and_in_a_message(text: str, form: str, tmp_path: Path) -> None:
    document, code = tmp_path / "page.md", tmp_path / "module.py"
    document.write_text(f"# Title\n\n{text}\n")
    code.write_text(f'x = 1\nraise ValueError("""{text}""")\n')
    assert check(document)[0].startswith(f"3: {form!r}: write ")
    assert check(code)[0].startswith(f"2: {form!r}: write ")


@pytest.mark.parametrize(
    "text",
    [
        "there is no such file",
        "it is no longer supported",
        "edited in place",
        "`folder` is code, and so is [a link](folder/judge.md)",
        "```sh\nls folder\n```",
        "the directory of a storage, where templates are stored",
    ],
)
def test_plain_english_and_code_pass(text: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(f"# Title\n\n{text}\n")
    assert check(tmp_path / "page.md") == ["check-prose: 1 files: fine"]


def test_names_in_code_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text('folder = judge("x", shall)\n')
    assert check(tmp_path / "module.py") == ["check-prose: 1 files: fine"]
