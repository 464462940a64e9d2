"""Merges the layers of an image into one root filesystem.

The rules are the OCI image specification's (layer.md) as umoci and Docker implement them: a whiteout hides entries of
lower layers and none of its own layer, at any position; a later entry replaces an earlier one, but a directory's entry
only changes the directory; names are resolved through links, as in a chroot.

Nothing is unpacked. A first reading of all layers' headers, from the lowest up, fills a tree whose leaves are the
numbers of the entries with the data; the second reading looks up by number what to do with each entry.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from lxcast.errors import ArchiveError
from lxcast.identifiers import one_line

FILE: Final = "file"
DIRECTORY: Final = "directory"
LINK: Final = "hard link"
SYMLINK: Final = "symbolic link"
WHITEOUT: Final = "whiteout"

_LINKS_FOLLOWED = 255  # as umoci's path resolver (cyphar/filepath-securejoin) does


_PLNK = b".wh..wh.plnk/"


class Attributes(NamedTuple):
    """The metadata of a directory."""

    mode: int
    uid: int
    gid: int
    mtime: int
    xattrs: dict[bytes, bytes] | None = None


IMPLIED = Attributes(0o755, 0, 0, 0)
"""Attributes of a directory without an entry in any layer."""

Entry = bytes | tuple[bytes, str, bytes | Attributes]
"""One entry of a layer: the path of a plain file; or path, kind, and a link's target or a directory's attributes."""


class _Directory:
    """A directory of the tree; its entries are directories, or the number of the entry with the data."""

    __slots__ = ("attributes", "declared", "entries", "first")

    def __init__(self, number: int, attributes: Attributes) -> None:
        self.entries: dict[bytes, _Directory | int] = {}
        self.attributes = attributes
        self.first = number
        """The entry before which the directory must exist."""
        self.declared = number
        """The last entry that declared it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with each entry, by its number over all layers from the lowest up."""

    actions: bytearray
    """0: drop it. 1: keep it as it is. 2: see `names` and `directories`."""
    names: dict[int, list[bytes]]
    """Its paths, if they are not just its own: the first one takes the data, the others are hard links to it."""
    directories: dict[int, list[tuple[bytes, Attributes]]]
    """The directories to write before it, parents first."""


class Merge:
    """Takes the layers' entries, from the lowest layer up; `name` is for messages."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._root = _Directory(0, IMPLIED)
        self._number = 0
        self._layer = 0  # the number of the layer's first entry: smaller ones belong to lower layers
        self._layers = 0
        self._targets: dict[int, bytes] = {}
        self._special: set[int] = set()  # leaves that may have other names than their entry has
        self._linked: set[tuple[_Directory, bytes]] = set()  # hard links of this layer
        self._attributes: dict[Attributes, Attributes] = {}
        # AUFS, an old storage driver of Docker, keeps the data of hard links in .wh..wh.plnk/: path -> leaf.
        self._aufs: dict[bytes, int] = {}
        # The last directory that was looked up, by a path without links: most entries follow one of the same directory.
        self._last: tuple[bytes, _Directory] = b"", self._root

    def add_layer(self, entries: Iterable[Entry]) -> None:
        """Take all entries of the next layer. Raises ArchiveError for entries that cannot be unpacked."""
        self._layers += 1
        self._layer = number = self._number
        self._linked.clear()
        for entry in entries:
            self._number = number
            if isinstance(entry, bytes):
                path, directory = self._last
                cut = max(entry.rfind(b"/"), 0)
                name = entry[cut + 1 :] if cut else entry
                if entry[:cut] != path or name[:4] in (b"", b".wh.") or type(directory.entries.get(name)) is _Directory:
                    self._add(entry, FILE, b"")
                else:
                    directory.entries[name] = number
            else:
                self._add(*entry)
            number += 1
        self._number = number

    def plan(self) -> Plan:
        """Return what to do with each entry. This empties the tree."""
        actions = bytearray(self._number)
        names: dict[int, list[bytes]] = {}
        order = [(b"", self._root, -1)]
        for index, (path, directory, _) in enumerate(order):  # it grows: a directory's subdirectories are appended
            start = path + b"/" if path else b""
            for name, found in directory.entries.items():
                if isinstance(found, _Directory):
                    order.append((start + name, found, index))
                elif found in self._special:
                    names.setdefault(found, []).append(start + name)
                    above = index
                    while above >= 0 and order[above][1].first > found:
                        order[above][1].first = found  # a link to data that comes before the directory
                        above = order[above][2]
                else:
                    actions[found] = 1
            directory.entries = {}
        directories: dict[int, list[tuple[bytes, Attributes]]] = {}
        for path, directory, _ in order:
            directories.setdefault(directory.first, []).append((path, directory.attributes))
        for number in (*names, *directories):
            if number < len(actions):
                actions[number] |= 2
        return Plan(actions, names, directories)

    def _add(self, path: bytes, kind: str, value: bytes | Attributes) -> None:
        """Take one entry that is not a plain file in the same directory as the last one."""
        parent, _, name = path.rpartition(b"/")
        if path.startswith(b".wh..wh.") or b"/.wh..wh." in path:
            if name == b".wh..wh..opq":
                hidden = self._existing(parent)
                if hidden is not None:
                    self._strip(hidden)
            elif path.startswith(_PLNK) and not isinstance(value, Attributes):
                self._aufs[path] = self._leaf(value, path) if kind == LINK else self._number
                self._special.add(self._aufs[path])
        elif kind == WHITEOUT or name[:4] == b".wh.":
            above = self._existing(parent)
            if above is not None:
                self._remove(above, name if kind == WHITEOUT else name[4:])
        elif not path:
            if isinstance(value, Attributes):
                self._root.attributes = value
        else:
            self._put(parent, name, kind, value)

    def _put(self, parent: bytes, name: bytes, kind: str, value: bytes | Attributes) -> None:
        """Put an entry into the tree; it replaces the one with the same path."""
        directory = self._made(parent)
        found = directory.entries.get(name)
        if isinstance(value, Attributes):
            if not value.xattrs:
                value = self._attributes.setdefault(value, value)
            if isinstance(found, _Directory):
                found.attributes, found.declared = value, self._number
            else:
                directory.entries[name] = _Directory(self._number, value)
            return
        leaf = self._number
        if kind == LINK:
            leaf = self._leaf(value, parent + b"/" + name)
            self._special.add(leaf)
            self._linked.add((directory, name))
        elif kind == SYMLINK:
            self._targets[leaf] = value
        if self._last[0] != parent:
            self._special.add(leaf)  # links led to another directory than its name
        if isinstance(found, _Directory):
            self._forget()
        directory.entries[name] = leaf

    def _made(self, path: bytes) -> _Directory:
        """Return the directory that a path leads to; missing ones are created."""
        if path == self._last[0]:
            return self._last[1]
        directory, linked = self._walk(path, make=True)
        assert directory is not None
        if linked:
            self._forget()
        else:
            self._last = path, directory
        return directory

    def _existing(self, path: bytes) -> _Directory | None:
        return self._walk(path, make=False)[0]

    def _walk(self, path: bytes, *, make: bool) -> tuple[_Directory | None, bool]:
        """Follow a path as a process with this root would; return the directory, and whether links led to it."""
        trail = [self._root]
        left = path.split(b"/")[::-1]
        links = 0
        while left:
            name = left.pop()
            if name == b"..":
                del trail[max(len(trail) - 1, 1) :]
                continue
            if name in (b"", b"."):
                continue
            found = trail[-1].entries.get(name)
            if found is None:
                if not make:
                    return None, bool(links)
                found = trail[-1].entries[name] = _Directory(self._number, IMPLIED)
            if isinstance(found, _Directory):
                trail.append(found)
                continue
            target = self._targets.get(found)
            links += 1
            if target is None or links > _LINKS_FOLLOWED:
                if not make:
                    return None, True
                raise self._error(f"{_text(path)} {'leads through too many links' if target else 'is below a file'}")
            if target.startswith(b"/"):
                del trail[1:]
            left.extend(target.split(b"/")[::-1])
        return trail[-1], bool(links)

    def _leaf(self, target: bytes, path: bytes) -> int:
        """Return the leaf that a hard link refers to."""
        if target in self._aufs:
            return self._aufs[target]
        parent, _, name = target.rpartition(b"/")
        directory = self._existing(parent)
        found = None if directory is None else directory.entries.get(name)
        if found is None or isinstance(found, _Directory):
            what = "which does not exist" if found is None else "which is a directory"
            raise self._error(f"{_text(path)} is a hard link to {_text(target)}, {what}")
        return found

    def _remove(self, directory: _Directory, name: bytes) -> None:
        """Remove the entry of lower layers under a name."""
        found = directory.entries.get(name)
        if isinstance(found, _Directory):
            self._strip(found)
            if not found.entries and found.declared < self._layer:
                del directory.entries[name]
        elif found is not None and self._is_lower(directory, name, found):
            del directory.entries[name]

    def _strip(self, directory: _Directory) -> None:
        """Remove all entries of lower layers in a directory."""
        self._forget()
        order = [directory]
        below: list[tuple[_Directory, bytes, _Directory]] = []
        for each in order:
            for name, found in [*each.entries.items()]:
                if isinstance(found, _Directory):
                    order.append(found)
                    below.append((each, name, found))
                elif self._is_lower(each, name, found):
                    del each.entries[name]
        for parent, name, child in reversed(below):
            if not child.entries and child.declared < self._layer:
                del parent.entries[name]

    def _is_lower(self, directory: _Directory, name: bytes, leaf: int) -> bool:
        return leaf < self._layer and (directory, name) not in self._linked

    def _forget(self) -> None:
        self._last = b"", self._root

    def _error(self, text: str) -> ArchiveError:
        return ArchiveError(f"{self._name}, layer {self._layers}: {text}", hint="build the image again")


def _text(path: bytes) -> str:
    return "/" + one_line(path.lstrip(b"/").decode("utf-8", "backslashreplace"))
