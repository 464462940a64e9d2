"""The workflow in examples/github-actions: sound, its lxcast commands parse, and its scripts do what they say."""

import json
import os
import re
import runpy
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from lxcast.jobs.starter import images
from tests.integration.tools import missing, on_path

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "examples" / "github-actions"
CHECK_DOCS = runpy.run_path(str(REPOSITORY / "scripts" / "check-docs"))
JOBS: dict[str, dict[str, Any]] = yaml.safe_load((FOLDER / "templates.yml").read_text())["jobs"]


def scripts() -> list[tuple[str, str]]:
    return [(job, step["run"]) for job, each in JOBS.items() for step in each["steps"] if "run" in step]


def script(job: str, name: str) -> str:
    (found,) = [step["run"] for step in JOBS[job]["steps"] if step.get("name") == name]
    return str(found)


def run(text: str, folder: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run a step as a runner does, which fails at the first command that fails."""
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text]
    return subprocess.run(command, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True)


def fake(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/bash\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """What the build jobs hand on, of two images."""
    folder = tmp_path / "templates"
    folder.mkdir()
    for name in ("alpine", "debian-12"):
        file = f"{name}-v17.tar.zst"
        (folder / file).write_text(name)
        digest = sha256(name.encode()).hexdigest()
        record = {"schema": 1, "name": name, "version": "v17", "file": file, "sha256": digest}
        (folder / f"{name}-v17.json").write_text(json.dumps(record))
        (folder / f"{name}-v17.packer.json").write_text('{"builds": []}')
        (folder / f"{file}.sha256").write_text(f"{digest}  {file}\n")
    return folder


def test_every_golden_image_is_built() -> None:
    assert sorted(JOBS["build"]["strategy"]["matrix"]["image"]) == images()


def test_every_lxcast_command_parses() -> None:
    found = 0
    for job, text in scripts():
        for line in text.splitlines():
            if re.match(r"\s*lxcast ", line):
                found += 1
                (words,) = CHECK_DOCS["invocations"](line.split())
                assert CHECK_DOCS["refusal"](words) == "", f"{job}: {line}"
    assert found == 3
    assert CHECK_DOCS["refusal"](["check", "--no-such"])


@pytest.mark.parametrize(("job", "text"), scripts(), ids=lambda value: value.split("\n")[0])
def test_every_script_is_shell(job: str, text: str, tmp_path: Path) -> None:
    assert "${{" not in text, "an expression in a script is a way in for whoever names a branch"
    assert subprocess.run(["bash", "-n", "-c", text], check=False).returncode == 0, job


def test_only_what_publishes_has_secrets_and_only_from_main() -> None:
    def dump(job: str) -> str:
        return yaml.safe_dump(JOBS[job])

    assert "secrets." not in dump("build")
    assert "secrets." not in dump("release")
    for job in ("cluster", "release"):
        assert "refs/heads/main" in JOBS[job]["if"]
        assert JOBS[job]["needs"] == "build"
    variables = set(re.findall(r"secrets\.(\w+)", dump("cluster")))
    assert variables == {"PM_API_URL", "PM_API_TOKEN_ID", "PM_API_TOKEN_SECRET"}
    readme = (FOLDER / "README.md").read_text()
    assert all(f"`{name}`" in readme for name in variables)


def test_a_release_has_every_file_and_what_terraform_pins(built: Path, tmp_path: Path) -> None:
    if on_path("jq") is None:
        missing("no jq")
    fake(tmp_path / "bin", "gh", f'printf "%s\\n" "$@" > {tmp_path}/told')
    env = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "TAG": "templates-v17", "PAGE": "https://example.org/dl"}
    done = run(script("release", "Create the release"), built, **env)
    assert done.returncode == 0, done.stderr
    pins = json.loads((built / "downloads.auto.tfvars.json").read_text())["lxc_downloads"]
    assert sorted(pins) == ["alpine", "debian-12"]
    assert pins["alpine"] == {
        "url": "https://example.org/dl/templates-v17/alpine-v17.tar.zst",
        "checksum": sha256(b"alpine").hexdigest(),
        "file_name": "alpine-v17.tar.zst",
        "version": "v17",
    }
    assert subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=built, check=False).returncode == 0
    told = (tmp_path / "told").read_text().splitlines()
    assert sorted(told[told.index("--") + 1 :]) == sorted(path.name for path in built.iterdir())
    shown = re.search(r"```json\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
    assert shown is not None
    assert json.loads(shown[1])["lxc_downloads"]["debian-12"].keys() == pins["debian-12"].keys()


@pytest.mark.parametrize(
    ("job", "name"), [("cluster", "Publish"), ("release", "Create the release")], ids=["cluster", "page"]
)
def test_nothing_is_published_of_what_was_damaged(job: str, name: str, built: Path, tmp_path: Path) -> None:
    (built / "alpine-v17.tar.zst").write_text("other")
    for program in ("gh", "lxcast", "pip"):
        fake(tmp_path / "bin", program, f"touch {tmp_path}/published-by-$(basename $0)")
    fake(tmp_path / "bin", "python3", 'mkdir -p "$3/bin"; touch "$3/bin/activate"')
    env = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "TAG": "t", "PAGE": "p", "STORAGE": "s", "LXCAST": "lxcast"}
    done = run(script(job, name), built, RUNNER_TEMP=str(tmp_path), **env)
    assert done.returncode != 0
    assert [path.name for path in tmp_path.glob("published-by-*")] in ([], ["published-by-pip"])


def test_each_template_is_published_to_the_cluster(built: Path, tmp_path: Path) -> None:
    fake(tmp_path / "bin", "python3", 'mkdir -p "$3/bin"; touch "$3/bin/activate"')
    fake(tmp_path / "bin", "pip", "")
    fake(tmp_path / "bin", "lxcast", f'echo "$@" >> {tmp_path}/told')
    env = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "STORAGE": "proxmox:pve1/local", "LXCAST": "lxcast"}
    done = run(script("cluster", "Publish"), built, RUNNER_TEMP=str(tmp_path), **env)
    assert done.returncode == 0, done.stderr
    told = (tmp_path / "told").read_text().splitlines()
    assert [words.split()[:2] for words in told] == [
        ["publish", "alpine-v17.tar.zst"],
        ["publish", "debian-12-v17.tar.zst"],
    ]
