"""HCL that Terraform accepts, python-hcl2 reads it or not; `terraform fmt` was the judge of each shape."""

import json
from pathlib import Path

import pytest

from lxcast.errors import PinError
from lxcast.references.grammar import tokens
from lxcast.references.hcl import Document, parse

ACCEPTED = (
    "x = (var.a\n  .b)\n",
    "x = (var.a\n  [0]\n  )\n",
    'x = [for k in var.a\n : k\n if k != ""]\n',
    "x = { for k, x in var.a : k\n => x\n}\n",
    "x = { for k, x in var.a : k => x... }\n",
    "x /* c */ = 1\n",
    "x = /* c */ 1 // d\n",
    "x = {\n  /* a */ k /* b */ = /* c */ 1 # d\n}\n",
    'resource /* a */ "a" /* b */ "b" /* c */ {\n}\n',
    'x = "${~ var.a ~}"\n',
    'x = "${\n  var.a\n}"\n',
    'x = "%{~ if var.a ~}a%{~ else ~}b%{~ endif ~}"\n',
    'x = "%{ for a in var.b }${a}%{ endfor }"\n',
    "x = <<EOT\na\nEOT  \n",
    "x = <<-EOT\n  ${var.a}\n  %{ if var.b }c%{ endif }\n  EOT\n",
    "x = [<<A\na\nA\n, <<B\nb\nB\n]\n",
    "x = !!var.a\n",
    "x = - var.a\n",
    'x = core::upper("a")\n',
    'x = provider::p::f("a")\n',
    "größe = 1\n",
    "e\u0301 = 1\n",
    'x = { "a${var.b}" = 1, (var.c) = 2, 3 = 4, null = 5 }\n',
    "x = { for = 1, in = 2, if = 3 }\n",
    "x = a.*.b[*].c.0.d\n",
    'x = f(\n  "a",\n  [1]...,\n)\n',
    "x = a ? b : c ? d : e\n",
    'x = "$${a} %%{b} $ % \\" \\\\ \\u00e9"\n',
    "x = 1 /* a */ + /* b */ 2\n",
    'a "b" { c = 1 }\n',
    "\n\r\nx = 1 \r\n",
)
EDITED = 'locals {\n  literal = "old" # "old"\n}\n'


@pytest.mark.parametrize("shape", ACCEPTED)
def test_a_literal_next_to_any_shape_is_changed_and_no_other_byte(shape: str) -> None:
    text = f"{shape}{EDITED}{shape}"
    document = parse(text.encode(), Path("main.tf"))
    after = document.replace(document.find("local.literal"), "new")
    assert after.encode() == text.replace('"old" #', '"new" #').encode()


def test_python_hcl2_is_only_a_second_opinion() -> None:
    assert tokens(EDITED, (0, 0)), "it reads what it can"
    assert tokens("x = !!var.a\n", (0, 0)) is None
    assert tokens("x = 1\n" * 50_000, (0, 0)) is None, "which would take it seconds"


def test_the_table_of_python_hcl2_is_kept_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lxcast.references import grammar

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    grammar._parser.cache_clear()
    assert tokens(EDITED, (0, 0))
    (table,) = (tmp_path / "lxcast").iterdir()
    written = table.stat().st_mtime_ns
    grammar._parser.cache_clear()
    assert tokens(EDITED, (0, 0))
    assert [(each.name, each.stat().st_mtime_ns) for each in (tmp_path / "lxcast").iterdir()] == [(table.name, written)]
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    grammar._parser.cache_clear()
    assert tokens(EDITED, (0, 0)) is None, "without a place for the table it would be computed every time"
    grammar._parser.cache_clear()


def test_a_list_of_20_000_items_is_read_in_a_moment() -> None:
    text = "l = [\n" + "".join(f'  "item-{number}",\n' for number in range(20_000)) + "]\n"
    document = parse(text.encode(), Path("x.tfvars"))
    assert document.find("l[777]").value == "item-777"
    assert document.replace(document.find("l[777]"), "v").text == text.replace("item-777", "v", 1)


JSON = '\ufeff{\r\n  "variable": {"v": {"default" : "old \\u00e9"}},\r\n  "locals": {"n": 3, "t": "x-${local.n}"} }'


def test_one_literal_of_terraforms_json_syntax_changes_and_no_other_byte() -> None:
    document = parse(JSON.encode(), Path("main.tf.json"))
    after = document.replace(document.find("var.v"), 'new "é"')
    assert after.encode() == JSON.replace('"old \\u00e9"', json.dumps('new "é"', ensure_ascii=False)).encode()
    assert document.replace(document.find("local.n"), "4").encode() == JSON.replace("3,", "4,").encode()
    assert document.find("local.t").kind == "template"


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"a": 1,}', '{"a" 1}', '{"a": tru}', '{"a": "\x01"}', '{"locals": {"a": "${"}}', "[" * 5000, "{} x"],
)
def test_invalid_json_is_refused_with_line_and_column(text: str) -> None:
    with pytest.raises(PinError, match=r"^main\.tf\.json:\d+:\d+: "):
        parse(text.encode(), Path("main.tf.json"))


def values(document: Document) -> list[tuple[str, str]]:
    return [(slot.address, slot.text) for slot in document.slots]


def test_a_byte_order_mark_is_kept() -> None:
    data = b'\xef\xbb\xbfv = "a"\r\n'
    document = parse(data, Path("x.tfvars"))
    assert values(document) == [("v", '"a"')]
    assert document.replace(document.find("v"), "b").encode() == data.replace(b'"a"', b'"b"')
