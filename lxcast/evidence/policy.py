"""What a template must have to be trusted: whose signature, which builder, which source."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from lxcast.errors import UsageError, join_problems

REQUIRABLE = ("record", "statement", "signature")
"""Rows that a policy can require; one that is not required is checked if the template has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy file in TOML has a key for each field. Paths in it are relative to the file."""

    require: tuple[str, ...] = ("record",)
    allowed_signers: Path | None = None
    """File in the format of ssh-keygen(1), ALLOWED SIGNERS."""
    keyring: Path | None = None
    """Public keys of gpg, binary or armored."""
    key: Path | None = None
    """Public key in PEM."""
    signers: tuple[str, ...] = ()
    """Patterns of the principals (ssh) and user ids (gpg) that may sign; empty: everyone in the file."""
    builders: tuple[str, ...] = ()
    """Patterns of builder ids; empty: any."""
    sources: tuple[str, ...] = ()
    """Patterns of KIND:REFERENCE, such as "docker-daemon:registry.example.org/*"; empty: any."""

    @classmethod
    def read(cls, path: Path) -> "Policy":
        """Read a policy file. Raises UsageError with everything that is wrong."""
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise UsageError(f"policy {path}: {reason}", hint="expected a TOML file") from error
        lists = ("require", "signers", "builders", "sources")
        problems, values = [], dict[str, Any]()
        for key, value in content.items():
            if key in lists and isinstance(value, list) and all(isinstance(each, str) for each in value):
                values[key] = tuple(value)
            elif key in ("allowed_signers", "keyring", "key") and isinstance(value, str) and value:
                values[key] = path.parent / Path(value).expanduser()
            elif key in {each.name for each in fields(cls)}:
                expected = "a list of strings" if key in lists else "a path"
                problems.append(f"policy {path}: {key}: expected {expected}, got {value!r:.80}")
            else:
                problems.append(f"policy {path}: unknown key {key}")
        problems += [f"policy {path}: require: {each}" for each in _unknown(values.get("require", ()))]
        if problems:
            raise UsageError(join_problems(problems))
        return cls(**values)


def matches(value: str, patterns: tuple[str, ...]) -> bool:
    """Tell whether a value matches one of several shell patterns; no patterns match everything."""
    return not patterns or any(fnmatchcase(value, each) for each in patterns)


def require_known(names: Sequence[str]) -> None:
    """Raise UsageError if one of the names is not a row that can be required."""
    if problems := [f"--require: {each}" for each in _unknown(names)]:
        raise UsageError(join_problems(problems))


def _unknown(names: Sequence[str]) -> list[str]:
    return [f"unknown {each!r}, expected {', '.join(REQUIRABLE)}" for each in names if each not in REQUIRABLE]
