"""python-hcl2 as a second opinion on an edit: the tokens that its grammar reads in a file."""

import fcntl
import os
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

_LONGEST = 100_000
"""Characters that are read: a second for ten times as many."""

Token = tuple[str, str, int]


def tokens(text: str, span: tuple[int, int], shift: int = 0) -> list[Token] | None:
    """Return (type, text, place) of each token outside of a span, those after it without the shift.

    None if python-hcl2 does not read the text, which says nothing of it, or if it is too long.
    """
    if len(text) > _LONGEST:
        return None
    from lark.exceptions import LarkError

    parser = _parser()
    if parser is None:
        return None
    try:
        tree = parser.parse(f"{text}\n")
    except (LarkError, RecursionError):
        return None
    found = [token for token in tree.scan_values(lambda _: True) if token.start_pos is not None]
    before = [(str(token.type), str(token), int(token.start_pos)) for token in found if token.end_pos <= span[0]]
    after = [(str(token.type), str(token), token.start_pos - shift) for token in found if token.start_pos >= span[1]]
    return before + after


@lru_cache
def _parser() -> Any:
    """Return python-hcl2's parser, with its table kept in the user's cache; None if it cannot be kept there.

    python-hcl2 itself keeps the table next to its own files. If those are read-only, every process spends more than a
    second on computing it again.
    """
    import hcl2.parser  # 60 ms
    from hcl2.postlexer import PostLexer
    from lark import Lark

    cache = os.environ.get("XDG_CACHE_HOME") or f"{os.environ.get('HOME') or Path.home()}/.cache"
    directory = Path(cache) / "lxcast"
    table = directory / f"hcl2-{version('python-hcl2')}-lark-{version('lark')}.table"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not table.exists() and not os.access(directory, os.W_OK):
            return None
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # lark writes the table in place
        return Lark.open(
            "hcl2.lark",
            parser="lalr",
            cache=str(table),
            rel_to=hcl2.parser.__file__,
            propagate_positions=True,
            postlex=PostLexer(),
        )
    except OSError:
        return None
    finally:
        os.close(lock)
