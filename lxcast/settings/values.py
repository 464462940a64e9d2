"""Values of settings: converted from TOML, HCL or Python, parsed from strings, and shown to people."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lxcast.model import conceal
from lxcast.settings.table import Setting, Value

_SIZE = re.compile(r"(\d{1,18})\s*([kmgtp]?)(i?)(b?)", re.IGNORECASE | re.ASCII)
_BOOLEANS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def convert(row: Setting, given: object) -> Value:
    """Return a value of TOML, HCL or Python as the type of the setting. Raises ValueError with the reason."""
    value = _KINDS[row.kind](given)
    if row.choices and value not in (*row.choices, row.default):
        raise ValueError(f"expected one of {', '.join(row.choices)}{did_you_mean(str(value), row.choices)}")
    return value


def parse(row: Setting, text: str) -> Value:
    """Return the value that a string, such as an environment variable, gives a setting. Raises ValueError.

    A list is split as a shell splits words; a table is such a list of KEY=VALUE.
    """
    if row.kind in ("list", "table"):
        import shlex  # start-up time: few environments set a list

        return parse_words(row, shlex.split(text))
    return parse_words(row, text)


def parse_words(row: Setting, given: str | bool | Sequence[str]) -> Value:
    """Return the value of a command line's option: a flag is a bool, a list or table one word for each option.

    Raises ValueError with the reason.
    """
    if row.kind == "table" and not isinstance(given, str | bool):
        return convert(row, parse_pairs(given))
    if isinstance(given, str):
        if row.kind == "flag":
            if given.lower() not in _BOOLEANS:
                raise ValueError(f"expected one of {', '.join(_BOOLEANS)}")
            return _BOOLEANS[given.lower()]
        if row.kind == "number" and given.isascii() and given.isdigit():
            return convert(row, int(given))
    return convert(row, given)


def parse_pairs(words: Sequence[str]) -> dict[str, str]:
    """Return KEY=VALUE words as a dictionary. Raises ValueError that names the words of another form."""
    pairs = [word.partition("=") for word in words]
    if wrong := [word for word, (key, sign, _) in zip(words, pairs, strict=True) if not (key and sign)]:
        raise ValueError(f"expected KEY=VALUE, got {', '.join(map(repr, wrong))}")
    return {key: value for key, _, value in pairs}


def parse_size(text: str) -> int:
    """Return a size in bytes, with the units of GNU coreutils: K and KiB are 1024, KB is 1000, up to P.

    Raises ValueError for anything else.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or (match[3] and not match[2]):
        raise ValueError("expected a size such as 1TiB, 500M or 1000000")
    base = 1000 if match[4] and match[2] and not match[3] else 1024
    return int(match[1]) * int(base ** " kmgtp".index(match[2].lower() or " "))


def show(value: object) -> str:
    """Return a value as a settings file contains it; of a URL only scheme and host."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_quote(str(key))} = {show(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(show, value)) + "]"
    return _quote(conceal(value)) if isinstance(value, str) else str(value)


def did_you_mean(word: str, words: Iterable[str], cutoff: float = 0.6) -> str:
    """Return "; did you mean X?" for a misspelled word, "" if none of `words` is similar."""
    import difflib  # start-up time: only for an error

    near = difflib.get_close_matches(word, list(words), n=1, cutoff=cutoff)
    return f"; did you mean {near[0]}?" if near else ""


def _quote(text: str) -> str:
    """Quote as a basic string of TOML, which has the escapes of JSON."""
    import json  # start-up time

    return json.dumps(text, ensure_ascii=False)


def _string(given: object) -> str:
    if not isinstance(given, str):
        raise ValueError(f"expected a string, got {_type_of(given)}")
    return given


def _url(given: object) -> str:
    text = _string(given)
    if text and not re.fullmatch(r"https?://[^\s/?#]+(/\S*)?", text):
        raise ValueError("expected a URL that starts with https://")
    return text


def _flag(given: object) -> bool:
    if not isinstance(given, bool):
        raise ValueError(f"expected true or false, got {_type_of(given)}")
    return given


def _number(given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise ValueError(f"expected a whole number from 0, got {_type_of(given)}")
    return given


def _size(given: object) -> int:
    return parse_size(given) if isinstance(given, str) else _number(given)


def _list(given: object) -> tuple[str, ...]:
    if not isinstance(given, list | tuple) or not all(isinstance(each, str) for each in given):
        raise ValueError(f"expected a list of strings, got {_type_of(given)}")
    return tuple(given)


def _table(given: object) -> dict[str, str]:
    if not isinstance(given, Mapping) or not all(isinstance(each, str) for pair in given.items() for each in pair):
        raise ValueError(f"expected a table of strings, got {_type_of(given)}")
    return dict(given)


def _type_of(given: object) -> str:
    """Name the type of a value as users of TOML do."""
    if isinstance(given, int) and not isinstance(given, bool) and given < 0:
        return "a negative number"
    names: dict[type[Any], str] = {
        bool: "true or false",
        int: "a number",
        float: "a decimal number",
        str: "a string",
        list: "a list of other values",
        tuple: "a list of other values",
        dict: "a table of other values",
        type(None): "nothing",
    }
    return names.get(type(given), f"a {type(given).__name__}")


_KINDS: Mapping[str, Callable[[object], Value]] = {
    "string": _string,
    "url": _url,
    "flag": _flag,
    "number": _number,
    "size": _size,
    "list": _list,
    "table": _table,
}
