"""What a setting's value may be: converted, parsed and shown."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from lxcast.model import conceal
from lxcast.settings.table import Setting, Value

_SIZE = re.compile(r"(\d{1,18})\s*([kmgtp]?)(i?)(b?)", re.IGNORECASE | re.ASCII)
_BOOLEANS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def convert(row: Setting, given: object) -> Value:
    """Return `given`, of a settings file or a caller, as the setting's own type. Raises ValueError with the why."""
    value = _KINDS[row.kind](given)
    if row.choices and value not in (*row.choices, row.default):
        raise ValueError(f"should be one of {', '.join(row.choices)}")
    return value


def parse(row: Setting, text: str) -> Value:
    """Return the value that `text` (an environment variable) gives a setting. Raises ValueError that says why not.

    A list is split as a shell splits words; a table is such a list of KEY=VALUE.
    """
    if row.kind in ("list", "table"):
        import shlex  # only where a list stands in the environment: it costs a command's start

        words = shlex.split(text)
        return convert(row, words if row.kind == "list" else parse_pairs(words))
    if row.kind == "flag":
        if text.lower() not in _BOOLEANS:
            raise ValueError(f"should be one of {', '.join(_BOOLEANS)}")
        return _BOOLEANS[text.lower()]
    if row.kind == "number":
        return convert(row, int(text) if text.isascii() and text.isdigit() else text)
    return convert(row, text)


def parse_pairs(words: list[str]) -> dict[str, str]:
    """Return KEY=VALUE words as a dictionary. Raises ValueError that names the words that are none."""
    pairs = [word.partition("=") for word in words]
    if wrong := [key for key, sign, _ in pairs if not (key and sign)]:
        raise ValueError(f"should be KEY=VALUE: {', '.join(map(repr, wrong))}")
    return {key: value for key, _, value in pairs}


def parse_size(text: str) -> int:
    """Return the bytes that `text` names, with the units of GNU coreutils: K and KiB are 1024, KB is 1000, to P.

    Raises ValueError for anything else.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or (match[3] and not match[2]):
        raise ValueError("should be a size such as 1TiB, 500M or 1000000")
    base = 1000 if match[4] and match[2] and not match[3] else 1024
    return int(match[1]) * int(base ** " kmgtp".index(match[2].lower() or " "))


def show(value: object) -> str:
    """Return a value as a settings file has it; of URLs only scheme and host."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_quote(str(key))} = {show(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(show, value)) + "]"
    return _quote(conceal(value)) if isinstance(value, str) else str(value)


def _quote(text: str) -> str:
    """Quote as TOML's basic string, whose escapes JSON's are."""
    import json  # as shlex above

    return json.dumps(text, ensure_ascii=False)


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise ValueError(f"is {_kind_of(given)}, should be text")
    return given


def _url(given: object) -> str:
    text = _text(given)
    if text and not re.fullmatch(r"https?://[^\s/?#]+(/\S*)?", text):
        raise ValueError("should be a URL that begins with https://")
    return text


def _flag(given: object) -> bool:
    if not isinstance(given, bool):
        raise ValueError(f"is {_kind_of(given)}, should be true or false")
    return given


def _number(given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise ValueError(f"is {_kind_of(given)}, should be a whole number from 0 on")
    return given


def _size(given: object) -> int:
    return parse_size(given) if isinstance(given, str) else _number(given)


def _list(given: object) -> tuple[str, ...]:
    if not isinstance(given, list | tuple) or not all(isinstance(each, str) for each in given):
        raise ValueError(f"is {_kind_of(given)}, should be a list of texts")
    return tuple(given)


def _table(given: object) -> dict[str, str]:
    if not isinstance(given, Mapping) or not all(isinstance(each, str) for pair in given.items() for each in pair):
        raise ValueError(f"is {_kind_of(given)}, should be a table of texts")
    return dict(given)


def _kind_of(given: object) -> str:
    """Name a value's type as TOML's users do."""
    names: dict[type[Any], str] = {
        bool: "true or false",
        int: "a number",
        float: "a number with a point",
        str: "text",
        list: "a list of other things",
        tuple: "a list of other things",
        dict: "a table of other things",
    }
    if isinstance(given, int) and not isinstance(given, bool) and given < 0:
        return "negative"
    return names.get(type(given), f"a {type(given).__name__}")


_KINDS: Mapping[str, Callable[[object], Value]] = {
    "text": _text,
    "url": _url,
    "flag": _flag,
    "number": _number,
    "size": _size,
    "list": _list,
    "table": _table,
}
