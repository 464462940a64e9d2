"""Layers of an image become one root filesystem: what stays, under which names, and where each folder comes first.

The rules are the OCI image specification's (layer.md) as umoci and Docker carry them out: a whiteout hides what lower
layers hold and nothing of its own layer, wherever it stands in it; a later entry takes an earlier one's place, but a
folder's entry only changes the folder; names lead through links, as in a chroot.

Nothing is unpacked. A first reading of all layers' headers, from the lowest up, goes into a tree whose leaves are the
numbers of the entries that carry the data; the second reading then knows of each entry by its number what to do.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from lxcast.errors import ArchiveError
from lxcast.identifiers import one_line

FILE: Final = "file"
FOLDER: Final = "folder"
LINK: Final = "hard link"
SYMLINK: Final = "link"
WHITEOUT: Final = "whiteout"

_LINKS_FOLLOWED = 255  # as umoci's path resolver (cyphar/filepath-securejoin) does


class Attributes(NamedTuple):
    """What a folder has beside its path."""

    mode: int
    uid: int
    gid: int
    mtime: int
    xattrs: dict[bytes, bytes] | None = None


IMPLIED = Attributes(0o755, 0, 0, 0)
"""Of a folder that no layer has an entry for."""

Entry = bytes | tuple[bytes, str, bytes | Attributes]
"""One entry of a layer as the merge sees it: the path of a plain file; or path, kind, and a hard link's or a link's
target, or a folder's attributes."""


class _Folder:
    """A folder of the tree; its entries are folders, or the number of the entry that carries the data."""

    __slots__ = ("attributes", "declared", "entries", "first")

    def __init__(self, number: int, attributes: Attributes) -> None:
        self.entries: dict[bytes, _Folder | int] = {}
        self.attributes = attributes
        self.first = number
        """The entry before which the folder must be there."""
        self.declared = number
        """The last entry that made it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of each entry, by its number over all layers from the lowest up."""

    verdicts: bytearray
    """0: nothing. 1: it stays as it is. 2: see `names` and `folders`."""
    names: dict[int, list[bytes]]
    """Its paths, where they are not just its own: the first one takes the data, the others are hard links to it."""
    folders: dict[int, list[tuple[bytes, Attributes]]]
    """The folders that are made before it, parents first."""


class Merge:
    """Takes the layers' entries from the lowest layer up; `name` is for messages."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._root = _Folder(0, IMPLIED)
        self._number = 0
        self._layer = 0  # the number of the layer's first entry: what is below it belongs to lower layers
        self._layers = 0
        self._targets: dict[int, bytes] = {}
        self._special: set[int] = set()  # leaves that may have other names than their entry's own
        self._linked: set[tuple[_Folder, bytes]] = set()  # hard links that this layer made
        self._attributes: dict[Attributes, Attributes] = {}
        # The last folder that was looked up, by a path that no link is in: most entries lie beside the one before.
        self._last: tuple[bytes, _Folder] = b"", self._root

    def add_layer(self, entries: Iterable[Entry]) -> None:
        """Take the entries of the next layer, all of them. Raises ArchiveError for what no filesystem can be."""
        self._layers += 1
        self._layer = number = self._number
        self._linked.clear()
        for entry in entries:
            self._number = number
            if isinstance(entry, bytes):
                path, folder = self._last
                cut = max(entry.rfind(b"/"), 0)
                name = entry[cut + 1 :] if cut else entry
                if entry[:cut] != path or name[:4] in (b"", b".wh.") or type(folder.entries.get(name)) is _Folder:
                    self._add(entry, FILE, b"")
                else:
                    folder.entries[name] = number
            else:
                self._add(*entry)
            number += 1
        self._number = number

    def plan(self) -> Plan:
        """Return what stays. The tree is gone afterwards."""
        verdicts = bytearray(self._number)
        names: dict[int, list[bytes]] = {}
        order = [(b"", self._root, -1)]
        for index, (path, folder, _) in enumerate(order):  # it grows meanwhile: a folder's own ones go behind it
            start = path + b"/" if path else b""
            for name, found in folder.entries.items():
                if isinstance(found, _Folder):
                    order.append((start + name, found, index))
                elif found in self._special:
                    names.setdefault(found, []).append(start + name)
                    above = index
                    while above >= 0 and order[above][1].first > found:
                        order[above][1].first = found  # a link, to data that comes before the folder does
                        above = order[above][2]
                else:
                    verdicts[found] = 1
            folder.entries = {}
        folders: dict[int, list[tuple[bytes, Attributes]]] = {}
        for path, folder, _ in order:
            folders.setdefault(folder.first, []).append((path, folder.attributes))
        for number in (*names, *folders):
            if number < len(verdicts):
                verdicts[number] |= 2
        return Plan(verdicts, names, folders)

    def _add(self, path: bytes, kind: str, value: bytes | Attributes) -> None:
        """Take one entry that is no plain file beside the last one."""
        parent, _, name = path.rpartition(b"/")
        if path.startswith(b".wh..wh.") or b"/.wh..wh." in path:
            hidden = self._existing(parent) if name == b".wh..wh..opq" else None  # the others are AUFS's own
            if hidden is not None:
                self._strip(hidden)
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
        """Put an entry into the tree, in the place of what is there."""
        folder = self._made(parent)
        found = folder.entries.get(name)
        if isinstance(value, Attributes):
            if not value.xattrs:
                value = self._attributes.setdefault(value, value)
            if isinstance(found, _Folder):
                found.attributes, found.declared = value, self._number
            else:
                folder.entries[name] = _Folder(self._number, value)
            return
        leaf = self._number
        if kind == LINK:
            leaf = self._leaf(value, parent + b"/" + name)
            self._special.add(leaf)
            self._linked.add((folder, name))
        elif kind == SYMLINK:
            self._targets[leaf] = value
        if self._last[0] != parent:
            self._special.add(leaf)  # links led to another folder than the one it names
        if isinstance(found, _Folder):
            self._forget()
        folder.entries[name] = leaf

    def _made(self, path: bytes) -> _Folder:
        """Return the folder that a path leads to; what is missing of it is made."""
        if path == self._last[0]:
            return self._last[1]
        folder, linked = self._walk(path, make=True)
        assert folder is not None
        if linked:
            self._forget()
        else:
            self._last = path, folder
        return folder

    def _existing(self, path: bytes) -> _Folder | None:
        return self._walk(path, make=False)[0]

    def _walk(self, path: bytes, *, make: bool) -> tuple[_Folder | None, bool]:
        """Follow a path as a process whose root is this filesystem would; return the folder, and whether by links."""
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
                found = trail[-1].entries[name] = _Folder(self._number, IMPLIED)
            if isinstance(found, _Folder):
                trail.append(found)
                continue
            target = self._targets.get(found)
            links += 1
            if target is None or links > _LINKS_FOLLOWED:
                if not make:
                    return None, True
                raise self._error(f"{_text(path)} {'leads through too many links' if target else 'lies below a file'}")
            if target.startswith(b"/"):
                del trail[1:]
            left.extend(target.split(b"/")[::-1])
        return trail[-1], bool(links)

    def _leaf(self, target: bytes, path: bytes) -> int:
        """Return the leaf that a hard link names."""
        parent, _, name = target.rpartition(b"/")
        folder = self._existing(parent)
        found = None if folder is None else folder.entries.get(name)
        if found is None or isinstance(found, _Folder):
            what = "which is not there" if found is None else "which is a folder"
            raise self._error(f"{_text(path)} is a hard link to {_text(target)}, {what}")
        return found

    def _remove(self, folder: _Folder, name: bytes) -> None:
        """Take away what lower layers have under a name."""
        found = folder.entries.get(name)
        if isinstance(found, _Folder):
            self._strip(found)
            if not found.entries and found.declared < self._layer:
                del folder.entries[name]
        elif found is not None and self._is_lower(folder, name, found):
            del folder.entries[name]

    def _strip(self, folder: _Folder) -> None:
        """Take away all that lower layers have in a folder."""
        self._forget()
        order = [folder]
        below: list[tuple[_Folder, bytes, _Folder]] = []
        for each in order:
            for name, found in [*each.entries.items()]:
                if isinstance(found, _Folder):
                    order.append(found)
                    below.append((each, name, found))
                elif self._is_lower(each, name, found):
                    del each.entries[name]
        for parent, name, child in reversed(below):
            if not child.entries and child.declared < self._layer:
                del parent.entries[name]

    def _is_lower(self, folder: _Folder, name: bytes, leaf: int) -> bool:
        return leaf < self._layer and (folder, name) not in self._linked

    def _forget(self) -> None:
        self._last = b"", self._root

    def _error(self, text: str) -> ArchiveError:
        return ArchiveError(f"{self._name}, layer {self._layers}: {text}", hint="build the image again")


def _text(path: bytes) -> str:
    return "/" + one_line(path.lstrip(b"/").decode("utf-8", "backslashreplace"))
