"""What the names mean that only hold in one place: `each`, an iterator's, and the variables of a `for`."""

from collections.abc import Iterator, Sequence

from lxcast.references.values import UNKNOWN, Text, Value

MOST = 100
"""Members of a for_each or a `for` that are looked at one by one."""


def each_bindings(collection: Value, name: str) -> Iterator[dict[str, Value]]:
    """Yield what `each`, or a dynamic block's iterator, is for the members of a collection."""
    members = list(collection.members.items())[:MOST]
    for key, value in members:
        # for_each takes a set, whose members are their own keys, and no list.
        names = value if collection.is_list else Value((Text(key),))
        yield {name: Value((), {"key": names, "value": value})}
    if not collection.is_known or len(collection.members) > MOST or not members:
        yield {name: UNKNOWN}


def loop_bindings(collection: Value, names: Sequence[str]) -> Iterator[dict[str, Value]]:
    """Yield what the variables of a `for` are for the members of a collection."""
    for key, value in list(collection.members.items())[:MOST]:
        yield {names[0]: Value((Text(key),)), names[-1]: value}
    if not collection.is_known or len(collection.members) > MOST or not collection.members:
        yield dict.fromkeys(names, UNKNOWN)
