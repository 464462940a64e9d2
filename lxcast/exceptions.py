"""Why a request failed, told from what requests and urllib3 raise."""

import re
from collections.abc import Iterator, Sequence


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what is inside it: urllib3 keeps its causes in `reason` and in arguments."""
    seen: set[int] = set()
    left: list[object] = [error]
    while left:
        each = left.pop(0)
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            left += [getattr(each, "reason", None), *each.args, each.__cause__, each.__context__]


def reason_of(causes: Sequence[BaseException]) -> str:
    """Return the innermost words of the operating system, else those of the outermost exception."""
    for each in causes:
        if isinstance(each, OSError) and each.strerror and not each.strerror.startswith("HTTP"):
            return each.strerror
    text = str(causes[-1]) or type(causes[-1]).__name__
    return re.sub(r"<[^>]*>:?\s*", "", text)[:200]
