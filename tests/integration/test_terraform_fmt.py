"""What `terraform fmt` calls clean stays clean when a literal changes; bytes win only beside aligned comments."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxcast.references.hcl import Document, parse
from tests.hcl_corpus import corpus
from tests.integration.tools import Program, missing, on_path

VALUES = {"string": "a-longer-v10", "number": "1234567", "bool": "false"}


@pytest.fixture(scope="module")
def fmt() -> Program:
    path = on_path("terraform") or on_path("tofu")
    if path is None:
        missing("neither terraform nor tofu is on PATH")
    return Program(path)


def unclean(fmt: Program, folder: Path) -> set[str]:
    """The files that fmt would lay out anew."""
    done = fmt.run("fmt", "-check", "-list=true", str(folder), check=False)
    assert done.returncode in (0, 3), done.stderr
    return {Path(line).name for line in done.stdout.split()}


def in_a_run_of_comments(lines: list[str], number: int) -> bool:
    """Whether a line ends in a comment and so does the one before or after it: fmt aligns those."""
    commented = [re.search(r"\S.*(#|//|/\*)", line) is not None for line in ["", *lines, "", ""]]
    return commented[number] and (commented[number - 1] or commented[number + 1])


def edited(document: Document) -> Iterator[tuple[int, str]]:
    """Yield (line, text) for each literal changed to a longer value."""
    for slot in document.slots[:4]:
        if slot.is_literal and document.find(slot.address) == slot:
            yield slot.line, document.replace(slot, VALUES[slot.kind]).text


def test_clean_files_stay_clean(fmt: Program, tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    samples = [sample for sample in corpus() if "set-twice" not in sample.name]  # which fmt refuses
    for sample in samples:
        # fmt takes Packer's files by Terraform's endings: it looks at the syntax alone.
        (before / f"{sample.name.replace('.', '-')}.tf").write_bytes(sample.data)
    refused = unclean(fmt, before)
    fmt.run("fmt", "-list=false", str(before))
    assert len(refused) < len(samples)
    assert unclean(fmt, before) == set()
    edits, aligned = 0, set()
    for file in sorted(before.iterdir()):
        text = file.read_bytes().decode()
        document = parse(text.encode(), file)
        for number, (line, new) in enumerate(edited(document)):
            name = f"{file.stem}-{number}.tf"
            (after / name).write_bytes(new.encode())
            edits += 1
            if in_a_run_of_comments(text.split("\n"), line):
                aligned.add(name)
    assert edits > 1000
    assert unclean(fmt, after) - aligned == set()
    assert aligned, "the corpus has no run of aligned comments"
