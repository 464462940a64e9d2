"""JSON of any shape, and JSON of which one part is of any shape."""

import json
from typing import Any

from hypothesis import strategies as st

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(
    PLAIN | st.sampled_from(["", "1", "UPID:", "../..", "OK", "\ud800", 10**30, -1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def mutated(draw: st.DrawFn, document: Any) -> Any:
    """The document with a part of it gone, or replaced by anything."""
    copy = json.loads(json.dumps({"": document}))
    place, key = copy, ""
    while (inner := place[key]) and isinstance(inner, list | dict) and draw(st.integers(0, 3)):
        keys = range(len(inner)) if isinstance(inner, list) else sorted(inner)
        place, key = inner, draw(st.sampled_from(keys))
    if key != "" and draw(st.booleans()):
        del place[key]
    else:
        place[key] = draw(JSON)
    return copy[""]
