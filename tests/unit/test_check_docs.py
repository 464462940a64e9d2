"""scripts/check-docs finds what a document says wrongly, and passes what is right."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

RIGHT = """\
# A title, `of` it

See [below](#a-title-of-it), [the other](other.md#same-1) and [a site](https://example.org). `[no](link)`

```sh
$ lxcast list --storage nas=/mnt/nas | sort
docker export x | sudo LXCAST_STORAGE=y lxcast --quiet \\
    list
lxcast --version && lxcast list --help
echo lxcast --bogus
```
"""


def check(folder: Path, **files: str) -> tuple[int, list[str]]:
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    for name, text in files.items():
        (folder / f"{name}.md").write_text(text)
    done = subprocess.run(
        [sys.executable, REPOSITORY / "scripts" / "check-docs", folder],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.replace(f"{folder}/", "").splitlines()


def test_right_documents_pass(tmp_path: Path) -> None:
    code, said = check(tmp_path, README=RIGHT, other="# Same\n\n## Same\n")
    assert said == ["check-docs: 2 documents, 4 command lines: fine"]
    assert code == 0


def test_a_broken_link_or_anchor_is_named_with_its_line(tmp_path: Path) -> None:
    code, said = check(
        tmp_path, README="# A\n\n[x](gone.md) [y](#b)\n[z](other.md#same)\n\n[r]: far.md\n", other="# Other\n"
    )
    assert said == [
        "README.md:3: gone.md: no such file",
        "README.md:3: #b: no heading with that anchor",
        "README.md:4: other.md#same: no heading with that anchor",
        "README.md:6: far.md: no such file",
    ]
    assert code == 1


def test_a_command_line_that_lxcast_refuses_is_named(tmp_path: Path) -> None:
    code, said = check(tmp_path, README="```sh\nlxcast lost\ncat x | \\\n  lxcast list --bogus\n```\n")
    assert [line.partition(":")[2].partition(": ")[0] for line in said] == ["2", "3"]
    assert "lost" in said[0]
    assert "--bogus" in said[1]
    assert code == 1


def test_a_machines_own_path_and_a_registrys_host_are_named(tmp_path: Path) -> None:
    path, host = "/" + "work/x", "pypi" + ".org"
    code, said = check(tmp_path, README=f"in {path}\nfrom {host}\nin a/work/folder and /workspace\n")
    assert [line.partition(": ")[0] for line in said] == ["README.md:1", "README.md:2"]
    assert code == 1
