"""The data source as Terraform runs it: a process, a query on its standard input, a result on its standard output."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

KEYS = {
    *("schema", "name", "version", "file", "template_id", "storage", "size", "unpacked_size", "members", "sha256"),
    *("diff_id", "format", "compressor", "ostype", "release", "arch", "created", "lxcast", "source", "cleanup"),
    *("fit", "checks", "hints", "metadata", "rules", "variant", "node", "ctime", "verified", "warnings"),
}


def run(query: object, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run the data source; bytes and text go in as they are, everything else as Terraform's JSON."""
    text = query if isinstance(query, bytes) else json.dumps(query, ensure_ascii=False).encode()
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        [sys.executable, "-m", "terraform_ext", *arguments], input=text, capture_output=True, cwd=cwd, env=environ
    )


def result(query: object, cwd: Path | None = None) -> dict[str, str]:
    """The result of a query that must succeed, checked to be what the external provider takes."""
    done = run(query, cwd=cwd)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    answer: dict[str, Any] = json.loads(done.stdout)
    assert all(isinstance(value, str) for value in answer.values())
    return answer


def refusal(query: object, cwd: Path | None = None) -> str:
    """What a refused query is told; nothing reaches standard output, and no line is wider than Terraform shows."""
    done = run(query, cwd=cwd)
    assert (done.returncode, done.stdout) == (1, b"")
    text = done.stderr.decode()
    assert "Traceback" not in text
    # A path stays whole.
    assert all(len(line) <= 75 or max(map(len, line.split())) > 60 for line in text.splitlines())
    return text
