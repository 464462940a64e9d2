"""Order of package versions: Debian's algorithm (deb-version(7)), which also orders rpm, apk and pacman versions."""

import re

_PARTS = re.compile(r"(\D*)(\d*)")


def compare_versions(first: str, second: str) -> int:
    """Return -1, 0 or 1: whether `first` is older than, equal to or newer than `second`."""
    for a, b in zip(_split(first), _split(second), strict=True):
        if result := _compare(a, b):
            return result
    return 0


def _split(version: str) -> tuple[str, str, str]:
    """Return epoch, version and revision."""
    epoch, colon, rest = version.partition(":")
    epoch, rest = (epoch, rest) if colon and epoch.isdigit() else ("0", version)
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "0")
    return epoch, upstream, revision


def _compare(first: str, second: str) -> int:
    """Compare alternating parts: text by character, where "~" comes first and letters before others; then numbers."""
    one, other = _PARTS.findall(first), _PARTS.findall(second)
    for index in range(max(len(one), len(other))):
        text_a, number_a = one[index] if index < len(one) else ("", "")
        text_b, number_b = other[index] if index < len(other) else ("", "")
        a, b = ([*map(_weight, text), 0] for text in (text_a, text_b))  # the end comes after "~", before the rest
        if a != b:
            return -1 if a < b else 1
        difference = int(number_a or "0") - int(number_b or "0")
        if difference:
            return -1 if difference < 0 else 1
    return 0


def _weight(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 0x110000
