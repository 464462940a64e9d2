"""The provenance statement: how a template was made, as an in-toto Statement v1 with a SLSA v1 predicate.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md and https://slsa.dev/spec/v1.0/provenance. Builder
id, invocation id and git dependency are found in the same variables, in the same order, as by Packer 1.16
(internal/provenance/gitinfo.go), so that both statements of one pipeline agree.
"""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from lxcast.errors import EvidenceError
from lxcast.record import Record

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://lxcast.dev/buildtypes/template/v1"
"""Described in docs/reference/build-type.md."""
STATEMENT_SUFFIX = ".intoto.json"
"""Suffix of the sidecar, after the template's name without its suffix."""
LOCAL_BUILDER = "https://lxcast.dev/local-build"

_BUILDER = ("GITHUB_WORKFLOW_REF", "CI_JOB_URL", "CI_PIPELINE_URL", "BUILD_URL")
_INVOCATION = ("GITHUB_RUN_ID", "CI_PIPELINE_ID", "CI_JOB_ID", "BUILD_ID")


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that went into a template, or was made with it."""

    uri: str = ""
    name: str = ""
    digest: Mapping[str, str] = field(default_factory=dict)
    """Algorithm to hexadecimal digest: {"sha256": "..."} or {"gitCommit": "..."}."""
    annotations: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the resource descriptor without empty fields."""
        fields = {"uri": self.uri, "name": self.name, "digest": self.digest, "annotations": self.annotations}
        return {key: value for key, value in fields.items() if value}


@dataclass(frozen=True, slots=True)
class Build:
    """What a statement says about a build beyond the record."""

    options: Mapping[str, Any]
    """The settings that affect the content, by name."""
    dependencies: Sequence[Resource] = ()
    byproducts: Sequence[Resource] = ()
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)


def make_statement(record: Record, build: Build) -> bytes:
    """Return the statement about the template of a complete record, as JSON.

    Two builds of one source give the same bytes but for the builder, the invocation id, the git commit, and what the
    file's name and version change.
    """
    internal = {"lxcast": record.lxcast, "rules": record.rules, "compressor": record.compressor}
    dependencies = [_source(record), *build.dependencies]
    details: dict[str, Any] = {"builder": {"id": builder_id(build.environ), "version": {"lxcast": record.lxcast}}}
    if invocation := _first(_INVOCATION, build.environ):
        details["metadata"] = {"invocationId": invocation}
    if build.byproducts:
        details["byproducts"] = [each.to_dict() for each in build.byproducts]
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": record.file, "digest": {"sha256": record.sha256}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "source": {"kind": record.source.kind, "reference": record.source.reference},
                    "options": dict(build.options),
                },
                "internalParameters": {key: value for key, value in internal.items() if value},
                "resolvedDependencies": [each.to_dict() for each in dependencies],
            },
            "runDetails": details,
        },
    }
    return json.dumps(statement, indent=2).encode() + b"\n"


def builder_id(environ: Mapping[str, str]) -> str:
    """Return the id of the CI job or workflow that runs, or LOCAL_BUILDER outside of a CI."""
    return _first(_BUILDER, environ) or LOCAL_BUILDER


def git_dependency(directory: Path, environ: Mapping[str, str] = os.environ) -> Resource | None:
    """Return the commit of the working tree that a directory is in, and whether it had no changes; None without one."""
    commit = _git(directory, "rev-parse", "HEAD")
    if commit is None:
        return None
    status = _git(directory, "status", "--porcelain")
    remote = _git(directory, "config", "--get", "remote.origin.url")
    top = _git(directory, "rev-parse", "--show-toplevel") or str(directory)
    branch = _git(directory, "rev-parse", "--abbrev-ref", "HEAD")
    uri = f"git+{_without_user(remote) if remote else Path(top).as_uri()}"
    if environ.get("GITHUB_REPOSITORY") and environ.get("GITHUB_SHA") == commit:
        server = environ.get("GITHUB_SERVER_URL", "https://github.com").rstrip("/")
        uri = f"git+{server}/{environ['GITHUB_REPOSITORY'].lstrip('/')}"
    if branch and branch != "HEAD":
        uri += f"@refs/heads/{branch}"
    return Resource(uri=uri, digest={"gitCommit": commit}, annotations={"clean": status == ""})


def parse_statement(data: bytes, where: str) -> dict[str, Any]:
    """Return a statement's document; `where` names it in messages. Raises EvidenceError if it is malformed."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"{where}: not valid JSON: {error}") from error
    if not isinstance(document, dict) or document.get("_type") != STATEMENT_TYPE:
        raise EvidenceError(f"{where}: not an in-toto statement (expected _type {STATEMENT_TYPE})")
    subjects = document.get("subject")
    valid = isinstance(subjects, list) and all(
        isinstance(each, dict) and isinstance(each.get("digest"), dict) and isinstance(each.get("name"), str)
        for each in subjects
    )
    if not valid or not subjects:
        raise EvidenceError(f"{where}: the statement has no valid subject")
    return document


def subject_problems(document: Mapping[str, Any], file: str, sha256: str) -> list[str]:
    """Return why a statement is not about a template; empty if it is."""
    subjects = document["subject"]
    if any(each["name"] == file and each["digest"].get("sha256") == sha256 for each in subjects):
        return []
    found = ", ".join(f"{each['name']} sha256 {each['digest'].get('sha256')}" for each in subjects[:3])
    return [f"the statement is about {found}; expected {file} sha256 {sha256}"]


def statement_builder(document: Mapping[str, Any]) -> str:
    """Return the builder id in a statement's document, "" if it has none."""
    value = _value_at(document, "predicate", "runDetails", "builder", "id")
    return value if isinstance(value, str) else ""


def statement_source(document: Mapping[str, Any]) -> str:
    """Return KIND:REFERENCE of a statement's source, ":" if it names none."""
    value = _value_at(document, "predicate", "buildDefinition", "externalParameters", "source")
    source = value if isinstance(value, dict) else {}
    return f"{source.get('kind', '')}:{source.get('reference', '')}"


def _value_at(document: Any, *keys: str) -> Any:
    """Return the value at a path of keys, None if an object on the way is missing."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def _source(record: Record) -> Resource:
    algorithm, _, digest = record.source.digest.partition(":")
    return Resource(uri=f"{record.source.kind}:{record.source.reference}", digest={algorithm: digest} if digest else {})


def _first(names: Sequence[str], environ: Mapping[str, str]) -> str:
    return next((value for name in names if (value := environ.get(name, "").strip())), "")


def _git(directory: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(directory), *arguments]
    try:
        finished = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    except OSError:  # git is not installed
        return None
    return None if finished.returncode else finished.stdout.strip()


def _without_user(url: str) -> str:
    """Return a remote's URL without a name and password in it; scp-like addresses (git@host:path) have none."""
    parts = urlsplit(url)
    if "://" not in url or "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
