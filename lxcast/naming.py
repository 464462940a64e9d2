"""How a template's file is called: a pattern, and the values of its fields."""

import re
import time
from dataclasses import dataclass, field

from lxcast.errors import UsageError
from lxcast.identifiers import TEMPLATE_SUFFIXES
from lxcast.model import Version, moment

DEFAULT_PATTERN = "{name}-{version}"

_ANY = r"[A-Za-z0-9_.-]+"
FIELDS = {
    "name": _ANY,
    "variant": _ANY,
    "release": _ANY,
    "arch": r"[a-z0-9]+",
    "version": r"v[1-9][0-9]{0,8}",
    "timestamp": r"[0-9]{8}T[0-9]{6}Z",
    "date": r"[0-9]{8}",
    "digest": r"[0-9a-f]{12}",
}
"""Field of a pattern -> what its value looks like in a file name; timestamp and date are in UTC, digest is the start
of the diff id."""

_UNIQUE = ("version", "timestamp", "digest")
_VALUE = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_PARTS = r"\{([^{}]*)\}|([^{}]+)|([{}])"


@dataclass(frozen=True, slots=True)
class Pattern:
    """The form of a file name without its suffix, such as "{name}-{version}"."""

    text: str = DEFAULT_PATTERN

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that it uses, in their order."""
        return tuple(match[1] for match in re.finditer(_PARTS, self.text) if match[1] is not None)

    def problems(self) -> list[str]:
        """Say everything that is wrong with it, in sentences for people."""
        text, found = self.text, []
        for match in re.finditer(_PARTS, text):
            if match[3]:
                found.append(f"the pattern {text!r} has a lone {match[3]!r}")
            elif match[1] is not None and match[1] not in FIELDS:
                found.append(
                    f"the pattern {text!r} has an unknown field {{{match[1]}}} (there are: {', '.join(FIELDS)})"
                )
            elif match[2] is not None and not re.fullmatch(_ANY, match[2], re.ASCII):
                found.append(
                    f"the pattern {text!r} may hold letters, digits, '_', '.', '-' and fields, not {match[2]!r}"
                )
        found += [f"the pattern {text!r} has {{{one}}} twice" for one in FIELDS if self.fields.count(one) > 1]
        if not text:
            found.append("the pattern is empty")
        if text.startswith((".", "-")):
            found.append(f"the pattern {text!r} starts with {text[0]!r}")
        if text.endswith(TEMPLATE_SUFFIXES):
            found.append(f"the pattern {text!r} ends in a suffix: leave it out, the format sets it")
        return found

    def regex(self, values: dict[str, str]) -> re.Pattern[str]:
        """Return what finds names of this form, with a group for each field; fields in `values` hold just that."""
        parts = []
        for match in re.finditer(_PARTS, self.text):
            if match[1] is None:
                parts.append(re.escape(match[0]))
            else:
                value = values.get(match[1])
                parts.append(f"(?P<{match[1]}>{FIELDS[match[1]] if value is None else re.escape(value)})")
        return re.compile("".join(parts), re.ASCII)


@dataclass(frozen=True, slots=True)
class Naming:
    """What a template is called: the values that its pattern's fields take. Made by `naming`."""

    name: str
    pattern: Pattern = Pattern()
    variant: str = ""
    release: str = ""
    arch: str = ""
    digest: str = ""
    """The diff id, "sha256:HEX", once it is known."""
    moment: int = field(default_factory=moment)
    """Seconds since 1970 for timestamp and date."""

    def render(self, version: Version | None = None) -> str:
        """Return the file name without its suffix; UsageError where the pattern needs a value that is not known."""
        at = time.gmtime(self.moment)
        values = {
            "name": self.name,
            "variant": self.variant,
            "release": self.release,
            "arch": self.arch,
            "version": str(version) if version else "",
            "timestamp": time.strftime("%Y%m%dT%H%M%SZ", at),
            "date": time.strftime("%Y%m%d", at),
            "digest": self.digest.removeprefix("sha256:")[:12],
        }
        lacking = [f"{{{one}}}" for one in self.pattern.fields if not values[one]]
        if lacking:
            raise UsageError(
                f"the pattern {self.pattern.text!r} needs {', '.join(lacking)}, which this build does not know",
                hint="say it (--variant, --release, --arch), or take it out of the pattern",
            )
        return self.pattern.text.format_map(values)

    def series(self) -> re.Pattern[str]:
        """Return what finds the names of all versions of this template, whenever they were made."""
        known = {"name": self.name, "variant": self.variant, "release": self.release, "arch": self.arch}
        return self.pattern.regex({key: value for key, value in known.items() if value})


def naming(
    name: str,
    pattern: str = DEFAULT_PATTERN,
    *,
    variant: str = "",
    release: str = "",
    arch: str = "",
    for_storage: bool = True,
) -> Naming:
    """Check the parts of a template's name; UsageError holds everything that is wrong with them.

    With `for_storage` the pattern must make each published name new: a version, a timestamp or a digest.
    """
    form = Pattern(pattern)
    problems = [] if name else ["a template needs a name"]
    for title, value in (("name", name), ("variant", variant), ("release", release), ("architecture", arch)):
        if value and not re.fullmatch(_VALUE, value):
            problems.append(f"the {title} {value!r} may hold letters, digits, '_', '.', '-', a letter or digit first")
        if value.endswith(TEMPLATE_SUFFIXES):
            problems.append(f"the {title} {value!r} ends in a suffix: leave it out, the format sets it")
    problems += form.problems()
    if for_storage and not set(_UNIQUE) & set(form.fields):
        problems.append(
            f"the pattern {pattern!r} has none of {{version}}, {{timestamp}} and {{digest}}: in a storage the second "
            "build would need a name that is taken (with --output it is allowed)"
        )
    if problems:
        raise UsageError("; ".join(problems))
    return Naming(name, form, variant, release, arch)


def another(version: object) -> str:
    """Return what makes a build of another name, where that of one with this version, or with none, is taken."""
    if version:
        return "build it again with another --version, or without one for the next number"
    return "build it again with another --name, or with {version} in --pattern"


def parts_of(stem: str) -> tuple[str, str]:
    """Return name and version of a file name without suffix that has the usual form, else all of it and ""."""
    match = Pattern().regex({}).fullmatch(stem)
    return (match["name"], match["version"]) if match else (stem, "")


def field_value(text: str) -> str:
    """Return a text as the value of a pattern's field; "" if it is not valid in a file name."""
    return text if re.fullmatch(_VALUE, text) and not text.endswith(TEMPLATE_SUFFIXES) else ""
