"""The provenance statement: what it says, from where, and that nothing secret gets into it."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from lxcast.errors import EvidenceError
from lxcast.evidence.statement import (
    Build,
    Resource,
    builder_id,
    git_dependency,
    make_statement,
    parse_statement,
    statement_builder,
    subject_problems,
)
from lxcast.record import Origin, Record

RECORD = Record(
    name="debian-12",
    version="v4",
    file="debian-12-v4.tar.zst",
    size=1,
    unpacked_size=1,
    members=1,
    sha256="a" * 64,
    diff_id="sha256:" + "b" * 64,
    format="zst",
    compressor="zstd 1.5.7",
    created="2026-11-21T10:00:00Z",
    lxcast="0.1.0",
    source=Origin("docker-daemon", "my-image", "sha256:" + "c" * 64),
    rules="sha256:" + "d" * 64,
)


def test_a_statement_names_subject_source_options_rules_and_builder() -> None:
    data = make_statement(
        RECORD,
        Build(
            {"policy": "golden"},
            [Resource(uri="file:provision.sh", digest={"sha256": "e" * 64})],
            [Resource(name="debian-12-v4.cdx.json", digest={"sha256": "f" * 64})],
            {"CI_JOB_URL": "https://ci.example.org/7", "CI_PIPELINE_ID": "42"},
        ),
    )
    document = parse_statement(data, "x")
    assert document["subject"] == [{"name": RECORD.file, "digest": {"sha256": RECORD.sha256}}]
    definition = document["predicate"]["buildDefinition"]
    assert definition["externalParameters"] == {
        "source": {"kind": "docker-daemon", "reference": "my-image"},
        "options": {"policy": "golden"},
    }
    assert definition["internalParameters"] == {"lxcast": "0.1.0", "rules": RECORD.rules, "compressor": "zstd 1.5.7"}
    assert definition["resolvedDependencies"] == [
        {"uri": "docker-daemon:my-image", "digest": {"sha256": "c" * 64}},
        {"uri": "file:provision.sh", "digest": {"sha256": "e" * 64}},
    ]
    details = document["predicate"]["runDetails"]
    assert details["builder"] == {"id": "https://ci.example.org/7", "version": {"lxcast": "0.1.0"}}
    assert details["metadata"] == {"invocationId": "42"}
    assert details["byproducts"] == [{"name": "debian-12-v4.cdx.json", "digest": {"sha256": "f" * 64}}]
    assert statement_builder(document) == "https://ci.example.org/7"
    assert data == make_statement(
        replace(RECORD),
        Build(
            {"policy": "golden"},
            [Resource(uri="file:provision.sh", digest={"sha256": "e" * 64})],
            [Resource(name="debian-12-v4.cdx.json", digest={"sha256": "f" * 64})],
            {"CI_JOB_URL": "https://ci.example.org/7", "CI_PIPELINE_ID": "42"},
        ),
    )


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "https://lxcast.dev/local-build"),
        (
            {"BUILD_URL": "https://jenkins/1", "GITHUB_WORKFLOW_REF": "o/r/.github/workflows/x.yml@refs/heads/main"},
            "o/r/.github/workflows/x.yml@refs/heads/main",
        ),
        ({"CI_JOB_URL": " ", "CI_PIPELINE_URL": "https://gitlab/2"}, "https://gitlab/2"),
    ],
)
def test_the_builder_is_found_as_packer_finds_it(environ: dict[str, str], expected: str) -> None:
    assert builder_id(environ) == expected


def git(directory: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(directory), *identity, *arguments], check=True, capture_output=True)


def test_a_working_tree_is_a_dependency_with_its_commit_and_state_and_without_credentials(tmp_path: Path) -> None:
    assert git_dependency(tmp_path, {}) is None
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "x")
    found = git_dependency(tmp_path, {})
    assert found is not None
    assert found.uri == f"git+file://{tmp_path}@refs/heads/main"
    assert len(found.digest["gitCommit"]) == 40
    assert found.annotations == {"clean": True}
    git(tmp_path, "remote", "add", "origin", "https://user:s3cret@example.org/images.git")
    (tmp_path / "Dockerfile").write_text("FROM debian\n")
    changed = git_dependency(tmp_path, {})
    assert changed is not None
    assert changed.uri == "git+https://example.org/images.git@refs/heads/main"
    assert changed.annotations == {"clean": False}
    assert git_dependency(tmp_path, {"GITHUB_REPOSITORY": "o/r", "GITHUB_SHA": changed.digest["gitCommit"]}) == replace(
        changed, uri="git+https://github.com/o/r@refs/heads/main"
    )


def test_a_statement_about_another_file_is_told_with_both_values() -> None:
    document = parse_statement(make_statement(RECORD, Build({}, environ={})), "x")
    assert subject_problems(document, RECORD.file, RECORD.sha256) == []
    (problem,) = subject_problems(document, RECORD.file, "0" * 64)
    assert RECORD.sha256 in problem
    assert "0" * 64 in problem


@pytest.mark.parametrize(
    "document",
    [
        "",
        "[]",
        "{}",
        '{"_type": "https://in-toto.io/Statement/v0.1"}',
        '{"_type": "https://in-toto.io/Statement/v1", "subject": []}',
        '{"_type": "https://in-toto.io/Statement/v1", "subject": [7]}',
        json.dumps({"_type": "https://in-toto.io/Statement/v1", "subject": [{"name": "x"}]}),
    ],
)
def test_a_malformed_statement_is_an_error(document: str) -> None:
    with pytest.raises(EvidenceError):
        parse_statement(document.encode(), "x.intoto.json")
