"""What an expression may come to, as far as it is known without running Terraform."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, product

from lxcast.references.address import Step
from lxcast.references.hcl import Document
from lxcast.references.nodes import Node

ANYTHING = "*"
"""Stands for an unknown part of a string; neither ids nor file names of templates can hold it."""

_MOST = 64
"""Alternatives of one value; more become one with an unknown part."""


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """A literal that a string was built from, and the address that it is changed at."""

    document: Document
    path: tuple[Step, ...]
    node: Node


@dataclass(frozen=True, slots=True)
class Text:
    """A string, or a pattern of one, with the literals that it was built from."""

    text: str
    origins: tuple[Origin, ...] = ()


@dataclass(frozen=True, slots=True)
class Value:
    """The strings that an expression may be, and its members if it may be a list or an object."""

    texts: tuple[Text, ...] = ()
    members: Mapping[str, "Value"] = field(default_factory=dict)
    is_known: bool = True
    """Whether it is nothing else; a value without strings and members, such as null, is known as well."""
    is_list: bool = False
    """Whether the keys of the members are indexes."""

    def all_texts(self) -> Iterator[Text]:
        """Yield the strings in it, those of its members included."""
        yield from self.texts
        for member in self.members.values():
            yield from member.all_texts()

    def member(self, key: "Value") -> "Value":
        """Return the member of a key; any member for an unknown key."""
        if self is OWN:
            return OWN
        names = [text.text for text in key.texts]
        if not names or not key.is_known or any(ANYTHING in name for name in names):
            found = [*self.members.values()]
        else:
            found = [self.members[name] for name in names if name in self.members]
            if len(found) == len(names):
                return union(found)
        return union(found if self.is_known else [*found, UNKNOWN])

    def each(self, function: "Callable[[Value], Value]") -> "Value":
        """Return the value with a function applied to every member."""
        members = {key: function(member) for key, member in self.members.items()}
        return Value((), members, self.is_known, self.is_list)

    def map_texts(self, function: Callable[[str], str]) -> "Value":
        """Return the strings with a function applied to those without an unknown part."""
        changed = [
            Text(function(each.text) if ANYTHING not in each.text else each.text, each.origins) for each in self.texts
        ]
        return Value(tuple(changed), self.members, self.is_known, self.is_list)


NOTHING = Value()
UNKNOWN = Value(is_known=False)
OWN = Value((Text("\0"),))
"""What lxcast itself answers: its templates are found by the query, and no name can hold that character."""


def union(values: Iterable[Value]) -> Value:
    """Return the value that may be any of several."""
    values = list(values)
    if len(values) == 1:
        return values[0]
    texts = tuple(islice(dict.fromkeys(text for value in values for text in value.texts), _MOST + 1))
    members: dict[str, list[Value]] = {}
    for value in values:
        for key, member in value.members.items():
            members.setdefault(key, []).append(member)
    is_known = all(value.is_known for value in values) and len(texts) <= _MOST
    is_list = any(value.is_list for value in values)
    return Value(texts, {key: union(each) for key, each in members.items()}, is_known, is_list)


def concat(values: Sequence[Value]) -> Value:
    """Return the strings that several values give in a row."""
    alternatives: list[Sequence[Text]] = []
    count = 1
    for value in values:
        texts = list(value.texts)
        if not value.is_known or not texts:  # Terraform refuses null and lists in a template
            texts.append(Text(ANYTHING))
        if count * len(texts) > _MOST:
            texts = [Text(ANYTHING, tuple(origin for text in texts for origin in text.origins)[:_MOST])]
        count *= len(texts)
        alternatives.append(texts)
    rows = [
        Text("".join(text.text for text in row), tuple(origin for text in row for origin in text.origins))
        for row in product(*alternatives)
    ]
    return Value(tuple(rows))


def listed(values: Iterable[Value], *, is_known: bool = True) -> Value:
    """Return a list."""
    return Value((), {str(index): value for index, value in enumerate(values)}, is_known, is_list=True)
