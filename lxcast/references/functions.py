"""Terraform's functions, as far as names of templates are put together by them; others give an unknown value."""

import re
from collections.abc import Callable, Mapping, Sequence

from lxcast.references.values import ANYTHING, NOTHING, UNKNOWN, Text, Value, concat, listed, union

Arguments = Sequence[Value]


def call(name: str, arguments: Arguments) -> Value:
    """Return what a function gives."""
    function = FUNCTIONS.get(name.removeprefix("core::"))
    try:
        return function(arguments) if function else UNKNOWN
    except (IndexError, re.error, ValueError):
        return UNKNOWN


def _first(arguments: Arguments) -> Value:
    return arguments[0]


def _format(arguments: Arguments) -> Value:
    results = [_formatted(pattern, arguments[1:]) for pattern in arguments[0].texts]
    return union(results if arguments[0].is_known and results else [*results, UNKNOWN])


def _formatted(pattern: Text, arguments: Arguments) -> Value:
    pieces: list[Value] = []
    following = iter(arguments)
    for literal, verb in re.findall(r"([^%]+|%%)|(%[^a-zA-Z%]*[a-zA-Z])", pattern.text):
        if literal:
            pieces.append(Value((Text(literal.replace("%%", "%")),)))
        else:
            value = next(following, UNKNOWN)
            pieces.append(value if verb in ("%s", "%d", "%v") else UNKNOWN)
    built = concat(pieces)
    return Value(tuple(Text(each.text, (*pattern.origins, *each.origins)) for each in built.texts), {}, built.is_known)


def _join(arguments: Arguments) -> Value:
    separator, *lists = arguments
    items = [item for each in lists for item in each.members.values()]
    if not all(each.is_known for each in lists):
        items.append(UNKNOWN)
    pieces = [piece for item in items for piece in (separator, item)][1:]
    return concat(pieces) if pieces else NOTHING


def _lookup(arguments: Arguments) -> Value:
    return union([arguments[0].member(arguments[1]), *arguments[2:]])


def _merge(arguments: Arguments) -> Value:
    members: dict[str, Value] = {}
    for each in arguments:
        members |= each.members
    return Value((), members, all(each.is_known for each in arguments))


def _concat(arguments: Arguments) -> Value:
    items = [item for each in arguments for item in each.members.values()]
    return listed(items, is_known=all(each.is_known for each in arguments))


def _flatten(arguments: Arguments) -> Value:
    def items(value: Value) -> list[Value]:
        members = value.members.values()
        return [inner for each in members for inner in (items(each) if each.is_list else [each])]

    return listed(items(arguments[0]), is_known=arguments[0].is_known)


def _keys(arguments: Arguments) -> Value:
    return listed((Value((Text(key),)) for key in arguments[0].members), is_known=arguments[0].is_known)


def _values(arguments: Arguments) -> Value:
    return listed(arguments[0].members.values(), is_known=arguments[0].is_known)


def _zipmap(arguments: Arguments) -> Value:
    names, values = arguments
    keys = [text.text for each in names.members.values() for text in each.texts]
    return Value((), dict(zip(keys, values.members.values(), strict=False)), names.is_known and values.is_known)


def _split(arguments: Arguments) -> Value:
    separator, text = (each.texts[0] for each in arguments)
    if ANYTHING in text.text or len(arguments[1].texts) > 1:
        return UNKNOWN
    return listed(Value((Text(piece, text.origins),)) for piece in text.text.split(separator.text))


def _replace(arguments: Arguments) -> Value:
    text, old, new = arguments
    if len(old.texts) != 1 or len(new.texts) != 1 or ANYTHING in old.texts[0].text + new.texts[0].text:
        return UNKNOWN
    search, value = old.texts[0].text, new.texts[0].text
    if len(search) > 2 and search[0] == search[-1] == "/":
        return UNKNOWN  # a regular expression
    replaced = text.map_texts(lambda each: each.replace(search, value))
    origins = new.texts[0].origins
    return Value(tuple(Text(each.text, (*each.origins, *origins)) for each in replaced.texts), {}, text.is_known)


def _trimmed(method: Callable[[str, str], str]) -> Callable[[Arguments], Value]:
    return lambda arguments: arguments[0].map_texts(lambda text: method(text, arguments[1].texts[0].text))


FUNCTIONS: Mapping[str, Callable[[Arguments], Value]] = {
    **dict.fromkeys(("tostring", "tonumber", "toset", "tolist", "tomap", "sensitive", "nonsensitive"), _first),
    **dict.fromkeys(("distinct", "compact", "sort", "reverse", "slice", "abspath", "pathexpand"), _first),
    **dict.fromkeys(("coalesce", "try"), union),
    "coalescelist": union,
    "format": _format,
    "join": _join,
    "lookup": _lookup,
    "element": lambda arguments: arguments[0].member(arguments[1]),
    "one": lambda arguments: union(arguments[0].members.values()),
    "merge": _merge,
    "concat": _concat,
    "flatten": _flatten,
    "keys": _keys,
    "values": _values,
    "zipmap": _zipmap,
    "split": _split,
    "replace": _replace,
    "lower": lambda arguments: arguments[0].map_texts(str.lower),
    "upper": lambda arguments: arguments[0].map_texts(str.upper),
    "trimspace": lambda arguments: arguments[0].map_texts(str.strip),
    "chomp": lambda arguments: arguments[0].map_texts(lambda text: text.rstrip("\r\n")),
    "trimprefix": _trimmed(str.removeprefix),
    "trimsuffix": _trimmed(str.removesuffix),
    "basename": lambda arguments: arguments[0].map_texts(lambda text: text.rpartition("/")[2]),
}
