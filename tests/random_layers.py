"""Stacks of layers as builders make them: a filesystem is changed at random, and each layer says what became other.

The filesystem itself is the oracle: what the layers give together must be what it is at the end.
"""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from tests.image_files import Line

NAMES = "abc"
Tree = dict[str, tuple[Any, ...]]
"""Path -> ("dir", mode), ("file", inode's number) or ("symlink", target)."""


@dataclass
class Stack:
    """Layers, and the filesystem that they are: a file's content is its inode's number."""

    layers: list[list[Line]] = field(default_factory=list)
    tree: Tree = field(default_factory=dict)


@st.composite
def stacks(draw: st.DrawFn) -> Stack:
    made = Stack()
    inode = 0
    for _ in range(draw(st.integers(1, 4))):
        before = dict(made.tree)
        reborn: set[str] = set()
        for _ in range(draw(st.integers(0, 8))):
            inode += 1
            _change(draw, made.tree, inode, reborn)
        lines = _difference(draw, before, made.tree, reborn)
        made.layers.append(lines)
    return made


def _change(draw: st.DrawFn, tree: Tree, inode: int, reborn: set[str]) -> None:
    """Do one thing to the filesystem; `reborn` are the folders that were removed and made again."""
    folders = ["", *(path for path, node in tree.items() if node[0] == "dir" and path.count("/") < 2)]
    parent = draw(st.sampled_from(folders))
    path = f"{parent}/{draw(st.sampled_from(NAMES))}".lstrip("/")
    kind = draw(st.sampled_from(("file", "file", "dir", "dir", "symlink", "link", "remove", "mode")))
    files = sorted(each for each, node in tree.items() if node[0] != "dir" and each != path and not _below(each, path))
    if kind == "mode":
        if tree.get(path, ("",))[0] == "dir":
            tree[path] = ("dir", draw(st.sampled_from((0o700, 0o711, 0o1777))))
        return
    if kind == "link" and not files:
        return
    was_folder = tree.get(path, ("",))[0] == "dir"
    source = tree[draw(st.sampled_from(files))] if kind == "link" else ()
    for each in [each for each in tree if each == path or _below(each, path)]:
        del tree[each]
    if was_folder:
        reborn.add(path)
    if kind == "file":
        tree[path] = ("file", inode)
    elif kind == "dir":
        tree[path] = ("dir", 0o755)
    elif kind == "symlink":
        tree[path] = ("symlink", draw(st.sampled_from(("a", "../b", "/c", "nowhere"))), inode)
    elif kind == "link":
        tree[path] = source


def _difference(draw: st.DrawFn, before: Tree, after: Tree, reborn: set[str]) -> list[Line]:
    """Return the entries of a layer that leads from one state to the next."""
    whiteouts: list[Line] = []
    hidden: set[str] = set()
    for path in sorted(before):
        if any(_below(path, each) for each in hidden):
            continue
        parent, _, name = path.rpartition("/")
        if path not in after:
            whiteouts.append((f"{parent}/.wh.{name}".lstrip("/"), "file", b""))
            hidden.add(path)
        elif path in reborn and before[path][0] == after[path][0] == "dir":
            whiteouts.append((f"{path}/.wh..wh..opq", "file", b""))
            hidden.add(path)
        elif before[path][0] == "dir" != after[path][0]:
            hidden.add(path)
    here: dict[tuple[Any, ...], str] = {}
    for path in before:
        if after.get(path) == before[path] and not any(_below(path, each) for each in hidden):
            here.setdefault(before[path], path)
    lines: list[Line] = []
    for path in sorted(after):
        node = after[path]
        is_same = before.get(path) == node and path not in hidden and not any(_below(path, each) for each in hidden)
        if is_same and not (node[0] == "dir" and draw(st.booleans())):
            continue
        if node[0] == "dir":
            lines.append((path, "dir", node[1]))
        elif node in here:
            lines.append((path, "link", here[node]))
        else:
            here[node] = path
            lines.append((path, node[0], node[1] if node[0] == "symlink" else b"%d" % node[1]))
    if not draw(st.booleans()):
        return whiteouts + lines
    return lines + whiteouts if draw(st.booleans()) else sorted(whiteouts + lines, key=lambda line: line[0])


def _below(path: str, folder: str) -> bool:
    return path.startswith(f"{folder}/")
