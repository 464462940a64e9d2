"""HCL's syntax as a tree, read without a library: what Terraform, OpenTofu, Packer and Terragrunt accept.

The rules are those of HCL's specification (hclsyntax/spec.md) and scanner: a comment counts as a space everywhere,
a line break is one inside of parentheses, brackets and interpolations, and names may hold letters beyond ASCII.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from lxcast.references.nodes import Attribute, Block, Body, HclSyntaxError, Node, unescape, unescape_text

_GAP = re.compile(r"(?:[ \t\r]+|/\*.*?\*/|(?:#|//)[^\n]*)*", re.DOTALL)
_WIDE_GAP = re.compile(r"(?:[ \t\r\n]+|/\*.*?\*/|(?:#|//)[^\n]*)*", re.DOTALL)
_SPACES = " \t\r\n/#"
_LETTER = r"[^\W\d]|[^\x00-\x7f\ufeff]"
_NAME = re.compile(rf"(?:{_LETTER})(?:[\w-]|[^\x00-\x7f\ufeff])*")
NUMBER = r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_NUMBER = re.compile(NUMBER)
_INDEX = re.compile(r"[0-9]+")
_PLAIN = re.compile(r'"([^"\\$%\n]*)"')
_CHARACTERS = re.compile(r'(?:[^"\\$%\n]|\\[^\n]|\$\$\{|%%\{|\$(?!\{)|%(?!\{))+')
_HEREDOC = re.compile(r"<<(-?)([^\s<]+)[ \t]*\r?\n")
_TEXT = re.compile(r"(?:[^$%]|\$\$\{|%%\{|\$(?!\{)|%(?!\{))+", re.DOTALL)
_BINARY = re.compile(r"==|!=|>=|<=|&&|\|\||[-+*/%<>](?!\{)")
_FOR = re.compile(r"for(?=[ \t\r\n/#])")
_IF = re.compile(r"if\b")
_DIRECTIVE = re.compile(r"if\b|else\b|endif\b|for\b|endfor\b")
_DEEPEST = 80
"""Levels of nesting that are read: below the interpreter's limit on recursion."""


def parse_body(text: str) -> Body:
    """Parse a whole file; HclSyntaxError if it is not HCL."""
    parser = _Parser(text)
    return parser.body("")


def parse_template(text: str) -> Node:
    """Parse a string of JSON syntax, whose interpolations Terraform evaluates; HclSyntaxError if it is not valid."""
    parser = _Parser(text)
    pieces = parser.pieces(_Template(len(text), _TEXT, unescape_text))
    if all(piece.kind == "string" for piece in pieces):
        return Node("string", 0, len(text), "".join(piece.value for piece in pieces))
    return Node("template", 0, len(text), parts=pieces)


class _Template(NamedTuple):
    """The end of a template, and how its text is read."""

    limit: int
    characters: re.Pattern[str]
    read: Callable[[str], str]
    closing: str = ""


class _Parser:
    """One pass over a text; `at` is the next character."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0

    def body(self, closing: str) -> Body:
        """Read attributes and blocks up to the closing brace, or to the end of the file."""
        items: list[Attribute | Block] = []
        self._enter()
        while True:
            self._skip(wide=True)
            if closing and self._take(closing):
                break
            if self.at >= len(self.text) and not closing:
                break
            items.append(self._item(closing))
        self.depth -= 1
        return Body(tuple(items))

    def _item(self, closing: str) -> "Attribute | Block":
        name = self._name("a name")
        self._skip()
        item: Attribute | Block
        if self._peek("=") and not self._peek("=="):
            self.at += 1
            item = Attribute(name, self.expression(wide=False))
        else:
            header = [name]
            while not self._take("{"):
                header.append(self._label())
                self._skip()
            item = Block(tuple(header), self.body("}"))
        self._skip()
        if self.at < len(self.text) and not self._peek("\n") and not (closing and self._peek(closing)):
            raise self._problem("a line break")
        return item

    def _label(self) -> str:
        if match := _PLAIN.match(self.text, self.at):
            self.at = match.end()
            return match[1]
        if self._peek('"'):
            node = self._quoted()
            if node.kind == "string":
                return node.value
        return self._name('"=", "{" or a label')

    def expression(self, *, wide: bool) -> Node:
        """Read an expression; `wide` if line breaks are spaces in it."""
        self._enter()
        self._skip(wide)
        node = self._operation(wide)
        end = self.at
        self._skip(wide)
        if self._take("?"):
            first = self.expression(wide=wide)
            self._skip(wide)
            self._expect(":")
            second = self.expression(wide=wide)
            node = Node("conditional", node.start, second.end, parts=(node, first, second))
        else:
            self.at = end
        self.depth -= 1
        return node

    def _operation(self, wide: bool) -> Node:
        """Read operands and the operators between them; which binds first does not matter here."""
        operands = [self._operand(wide)]
        while True:
            end = self.at
            self._skip(wide)
            operator = _BINARY.match(self.text, self.at)
            if operator is None:
                self.at = end
                break
            self.at = operator.end()
            self._skip(wide)
            operands.append(self._operand(wide))
        if len(operands) == 1:
            return operands[0]
        return Node("any", operands[0].start, operands[-1].end, parts=tuple(operands))

    def _operand(self, wide: bool) -> Node:
        start = self.at
        if self._peek("!") or (self._peek("-") and not _NUMBER.match(self.text, self.at)):
            self.at += 1
            self._skip(wide)
            self._enter()
            inner = self._operand(wide)
            self.depth -= 1
            return Node("any", start, inner.end, parts=(inner,))
        return self._accessed(self._primary(), wide)

    def _accessed(self, node: Node, wide: bool) -> Node:
        """Read the names and indexes behind a value."""
        steps: list[Node] = []
        while True:
            end = self.at
            self._skip(wide)
            start = self.at
            if self._peek(".") and not self._peek("..."):
                self.at += 1
                self._skip(wide)
                steps.append(self._attribute_step(start))
            elif self._take("["):
                self._skip(wide=True)
                step = Node("any", start, self.at) if self._take("*") else self.expression(wide=True)
                steps.append(step)
                self._skip(wide=True)
                self._expect("]")
            else:
                self.at = end
                break
        if not steps:
            return node
        if node.kind == "reference":
            return Node("reference", node.start, self.at, parts=(*node.parts, *steps))
        return Node("access", node.start, self.at, parts=(node, *steps))

    def _attribute_step(self, start: int) -> Node:
        if self._take("*"):
            return Node("any", start, self.at)
        if match := _INDEX.match(self.text, self.at):
            self.at = match.end()
            return Node("number", match.start(), match.end(), match[0])
        return Node("string", start, self.at, self._name("a name"))

    def _primary(self) -> Node:
        text, start = self.text, self.at
        if match := _PLAIN.match(text, start):
            self.at = match.end()
            return Node("string", start, self.at, match[1])
        character = text[start : start + 1]
        if character == '"':
            return self._quoted()
        if character == "[":
            return self._list()
        if character == "{":
            return self._object()
        if character == "(":
            self.at += 1
            node = self.expression(wide=True)
            self._skip(wide=True)
            self._expect(")")
            return node
        if character == "<" and (match := _HEREDOC.match(text, start)):
            return self._heredoc(match)
        if match := _NUMBER.match(text, start):
            self.at = match.end()
            return Node("number", start, self.at, match[0])
        return self._named()

    def _named(self) -> Node:
        start = self.at
        name = self._name("a value")
        end = self.at
        while self._take("::"):
            name = f"{name}::{self._name('a name')}"
        self._skip()
        if self._take("("):
            arguments = self._items(")", splat=True)
            return Node("call", start, self.at, name, arguments)
        self.at = end
        if name in ("true", "false"):
            return Node("bool", start, end, name)
        if name == "null":
            return Node("null", start, end, name)
        return Node("reference", start, end, name, (Node("string", start, end, name),))

    def _items(self, closing: str, *, splat: bool = False) -> tuple[Node, ...]:
        items: list[Node] = []
        while True:
            self._skip(wide=True)
            if self._take(closing):
                return tuple(items)
            items.append(self.expression(wide=True))
            self._skip(wide=True)
            if splat and self._take("..."):
                self._skip(wide=True)
            if not self._take(",") and not self._peek(closing):
                raise self._problem(f'"," or "{closing}"')

    def _list(self) -> Node:
        start = self.at
        self.at += 1
        if loop := self._loop(start, "]"):
            return loop
        items = self._items("]")
        return Node("list", start, self.at, parts=items)

    def _object(self) -> Node:
        start = self.at
        self.at += 1
        if loop := self._loop(start, "}"):
            return loop
        parts: list[Node] = []
        while True:
            self._skip(wide=True)
            if self._take("}"):
                return Node("object", start, self.at, parts=tuple(parts))
            key = self._key()
            self._skip()
            if not self._take("=") and not self._take(":"):
                raise self._problem('"="')
            parts += (key, self.expression(wide=False))
            self._skip()
            if not self._take(",") and not self._peek("\n") and not self._peek("}"):
                raise self._problem('",", "}" or a line break')

    def _key(self) -> Node:
        """Read an object's key; a plain name is a string, one in parentheses is computed."""
        is_computed = self._peek("(")
        key = self._operation(wide=False)
        if is_computed or (key.kind == "reference" and len(key.parts) > 1):
            return Node("any", key.start, key.end, parts=(key,))
        return key if key.kind == "template" else Node("string", key.start, key.end, key.value)

    def _loop(self, start: int, closing: str) -> Node | None:
        """Read [for ...] or {for ...} if that follows."""
        opening = self.at
        self._skip(wide=True)
        if not _FOR.match(self.text, self.at):
            self.at = opening
            return None
        self.at += 3
        self._skip(wide=True)
        if self._peek("=") or self._peek(":"):  # a key of that name
            self.at = opening
            return None
        names, collection = self._loop_header()
        self._skip(wide=True)
        self._expect(":")
        value = self.expression(wide=True)
        key: tuple[Node, ...] = ()
        condition: tuple[Node, ...] = ()
        self._skip(wide=True)
        if self._take("=>"):
            key, value = (value,), self.expression(wide=True)
            self._skip(wide=True)
            if self._take("..."):
                self._skip(wide=True)
        if _IF.match(self.text, self.at):
            self.at += 2
            condition = (self.expression(wide=True),)
            self._skip(wide=True)
        self._expect(closing)
        kind = "object" if key else "list"
        return Node("for", start, self.at, kind, (collection, value, *key, *condition), names)

    def _loop_header(self) -> tuple[tuple[str, ...], Node]:
        self._skip(wide=True)
        names = [self._name("a name")]
        self._skip(wide=True)
        if self._take(","):
            self._skip(wide=True)
            names.append(self._name("a name"))
            self._skip(wide=True)
        if self._name('"in"') != "in":
            raise self._problem('"in"')
        return tuple(names), self.expression(wide=True)

    def _quoted(self) -> Node:
        start = self.at
        self.at += 1
        pieces = self.pieces(_Template(len(self.text), _CHARACTERS, unescape, '"'))
        self._expect('"')
        if all(piece.kind == "string" for piece in pieces):
            return Node("string", start, self.at, "".join(piece.value for piece in pieces))
        return Node("template", start, self.at, parts=pieces)

    def _heredoc(self, opening: re.Match[str]) -> Node:
        marker, line = opening[2], opening.end()
        while True:
            end = self.text.find("\n", line)
            content = self.text[line:] if end < 0 else self.text[line:end]
            if content.strip() == marker:
                break
            if end < 0:
                raise HclSyntaxError(opening.start(), f"the heredoc {marker} does not end")
            line = end + 1
        self.at = opening.end()
        pieces = self.pieces(_Template(line, _TEXT, unescape_text))
        self.at = self.text.index(marker, line) + len(marker)
        return Node("heredoc", opening.start(), self.at, parts=pieces)

    def pieces(self, template: _Template, stops: tuple[str, ...] = ()) -> tuple[Node, ...]:
        """Read a template up to its closing quote or limit, or through one of the directives in `stops`."""
        pieces: list[Node] = []
        while self.at < template.limit and not (template.closing and self._peek(template.closing)):
            start = self.at
            if match := template.characters.match(self.text, start, template.limit):
                self.at = match.end()
                pieces.append(Node("string", start, self.at, template.read(match[0])))
            elif self._take("${"):
                self._take("~")
                pieces.append(self.expression(wide=True))
                self._close()
            elif self._take("%{"):
                word = self._directive()
                if word in stops:
                    return (*pieces, Node("stop", start, self.at, word))
                pieces.append(self._control(word, template))
            else:
                raise self._problem("a closing quote")
        if stops:
            raise self._problem(f"%{{ {stops[-1]} }}")
        return tuple(pieces)

    def _control(self, word: str, template: _Template) -> Node:
        """Read the rest of an `if` or a `for` in a template, up to its end."""
        start = self.at
        self._enter()
        if word == "if":
            condition = self.expression(wide=True)
            self._close()
            *first, stop = self.pieces(template, ("else", "endif"))
            self._close()
            second: list[Node] = []
            if stop.value == "else":
                *second, stop = self.pieces(template, ("endif",))
                self._close()
            branches = [Node("template", start, self.at, parts=tuple(each)) for each in (first, second)]
            node = Node("conditional", start, self.at, parts=(condition, *branches))
        elif word == "for":
            _, collection = self._loop_header()
            self._close()
            *repeated, _ = self.pieces(template, ("endfor",))
            self._close()
            node = Node("any", start, self.at, parts=(collection, *repeated))
        else:
            raise self._problem("if or for")
        self.depth -= 1
        return node

    def _directive(self) -> str:
        self._take("~")
        self._skip(wide=True)
        match = _DIRECTIVE.match(self.text, self.at)
        if match is None:
            raise self._problem("if or for")
        self.at = match.end()
        return match[0]

    def _close(self) -> None:
        self._skip(wide=True)
        self._take("~")
        self._expect("}")

    def _name(self, expected: str) -> str:
        match = _NAME.match(self.text, self.at)
        if match is None:
            raise self._problem(expected)
        self.at = match.end()
        return match[0]

    def _enter(self) -> None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise HclSyntaxError(self.at, "nested too deeply")

    def _skip(self, wide: bool = False) -> None:
        if self.text[self.at : self.at + 1] not in _SPACES:
            return
        match = (_WIDE_GAP if wide else _GAP).match(self.text, self.at)
        assert match, "the pattern matches the empty string"
        self.at = match.end()

    def _peek(self, text: str) -> bool:
        return self.text.startswith(text, self.at)

    def _take(self, text: str) -> bool:
        if self.text.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self._problem(f'"{text}"')

    def _problem(self, expected: str) -> HclSyntaxError:
        if self.at >= len(self.text):
            return HclSyntaxError(self.at, f"expected {expected}, got the end of the file")
        line = self.text[self.at : self.at + 40].partition("\n")[0].strip() or "a line break"
        return HclSyntaxError(self.at, f"expected {expected}, got {line}")
