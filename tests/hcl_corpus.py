"""Some 600 HCL files: the shapes in several layouts, whole configurations in the same, and random ones."""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.hcl_shapes import SHAPES


@dataclass(frozen=True)
class Sample:
    origin: str
    """What made it: shapes, configurations, or random."""
    name: str
    """A file name of its own."""
    data: bytes
    address: str = ""
    """Of the literal to change."""
    start: int = 0
    """Where that one begins, in bytes."""
    literal: bytes = b""
    refusal: str = ""
    """What is said where it is refused."""


LAYOUTS: dict[str, Callable[[str], str]] = {
    "as-is": lambda text: text,
    "crlf": lambda text: text.replace("\n", "\r\n"),
    "no-final-newline": lambda text: text.rstrip("\n"),
    "after-others": lambda text: "# größe 😀\nextra_name = 1\n\n/* a\n   b */\n" + text,
}


@cache
def corpus() -> tuple[Sample, ...]:
    return (*_shapes(), *_configurations(), *_random(260))


def _shapes() -> Iterator[Sample]:
    for number, (name, ending, text, wanted) in enumerate(SHAPES):
        address, _, refusal = wanted.partition("!")
        for layout, change in LAYOUTS.items():
            file = f"shape-{number:02}-{name.replace(' ', '-')}-{layout}{ending}"
            if layout == "no-final-newline" and text.rstrip("\n").endswith("EOT"):
                continue
            yield _marked("shapes", file, change(text), address, refusal)


def _marked(origin: str, file: str, text: str, address: str, refusal: str = "") -> Sample:
    before, _, rest = text.partition("«")
    literal, _, after = rest.partition("»")
    data = (before + literal + after).encode()
    return Sample(origin, file, data, address, len(before.encode()), literal.encode(), refusal)


def _configurations() -> Iterator[Sample]:
    folder = Path(__file__).parent / "hcl"
    for path in sorted(folder.iterdir()):
        first, _, text = path.read_text().partition("\n")
        for address in first.removeprefix("# ").split():
            assert f"@{address}@" in text, (path, address)
            for layout, change in LAYOUTS.items():
                # The literal of an address carries its mark in the file: @ADDRESS@ before the literal.
                marked = text.replace(f"@{address}@", "«", 1)
                before, _, rest = marked.partition("«")
                end = rest.index('"', 1) + 1
                plain = _unmarked(before) + "«" + rest[:end] + "»" + _unmarked(rest[end:])
                name = f"{path.stem.partition('.')[0]}-{address.replace('.', '-').replace('[', '').replace(']', '')}"
                ending = path.name[path.name.index(".") :]
                yield _marked("configurations", f"{name}-{layout}{ending}", change(plain), address)


def _unmarked(text: str) -> str:
    return re.sub(r"@[\w.\[\]-]+@(?=\")", "", text)


def _random(count: int) -> Iterator[Sample]:
    for seed in range(count):
        dice = random.Random(seed)
        writer = _Writer(dice)
        text = writer.body(0, top=True)
        yield Sample("random", f"random-{seed:03}.tf", text.encode())


class _Writer:
    """Writes random HCL from the grammar's parts, with any spacing that Terraform takes."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.count = 0

    def name(self) -> str:
        self.count += 1
        return f"{self.dice.choice(['a', 'b_c', 'image-id', 'x', 'template'])}{self.count}"

    def body(self, depth: int, *, top: bool = False) -> str:
        indent = self.dice.choice(["  ", "\t", ""]) * depth
        lines = []
        for _ in range(self.dice.randint(1, 4)):
            lines.append(self.dice.choice(["", "", f"{indent}# note\n", "\n", f"{indent}/* a\n b */\n"]))
            if top or (depth < 3 and self.dice.random() < 0.3):
                lines.append(self.block(indent, depth))
            else:
                lines.append(self.attribute(indent, depth))
        return "".join(lines)

    def attribute(self, indent: str, depth: int) -> str:
        equals = self.dice.choice([" = ", "=", "   =\t", " =  "])
        value = self.value(depth)
        if value.startswith("<<"):
            return f"{indent}{self.name()}{equals}{value}"
        return f"{indent}{self.name()}{equals}{value}{self.dice.choice(['', '', ' ', ' # why', ' // why'])}\n"

    def block(self, indent: str, depth: int) -> str:
        labels = "".join(f' "{self.name()}"' for _ in range(self.dice.randint(0, 2)))
        if self.dice.random() < 0.15:
            return f"{indent}{self.name()}{labels} {{ {self.name()} = {self.text()} }}\n"
        return f"{indent}{self.name()}{labels} {{\n{self.body(depth + 1)}{indent}}}\n"

    def value(self, depth: int, *, inner: bool = False) -> str:
        simple = [self.text, self.text, self.text, self.number, lambda: "true", lambda: "null", self.computed]
        nested = [self.items, self.members, self.members]
        if depth < 4 and self.dice.random() < 0.35:
            return self.dice.choice(nested)(depth)
        if not inner and self.dice.random() < 0.1:
            return '<<EOT\nplain ${local.a} "text"\nEOT\n'
        return self.dice.choice(simple)()

    def text(self) -> str:
        return self.dice.choice(
            ['"v3"', '""', '"é 😀"', '"a\\"b\\\\"', '"$${x}"', '"x-${local.a}-${b.c[0]}"', '"# no"']
        )

    def number(self) -> str:
        return self.dice.choice(["0", "3", "-1", "2.5", "1e3"])

    def computed(self) -> str:
        return self.dice.choice(
            ["upper(\"v3\")", "var.a", "a.b[0].c", "[for x in y : x if x]", "{ for k, v in m : k => v }", "!b", "1 + 2",
             'c ? "v3" : "v4"', 'x["v3"]', "a[*].b", 'f("v3", [1]...)', '("v3")']
        )  # fmt: skip

    def items(self, depth: int) -> str:
        gap = self.dice.choice(["", " ", "\n"])
        return "[" + gap + f",{gap or ' '}".join(self.value(depth + 1, inner=True) for _ in range(2)) + gap + "]"

    def members(self, depth: int) -> str:
        keys = [self.dice.choice([self.name(), f'"{self.name()}.d"', f"({self.name()})"]) for _ in range(2)]
        gap, comma = self.dice.choice([(" ", ","), ("\n", ""), ("\n", ","), ("\n", " # c")])
        equals = self.dice.choice([" = ", "=", " : "])
        parts = [f"{key}{equals}{self.value(depth + 1, inner=True)}" for key in keys]
        return "{" + gap + f"{comma}{gap}".join(parts) + gap + "}"
