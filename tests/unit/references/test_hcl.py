from collections import Counter
from pathlib import Path

import pytest

from lxcast.errors import PinError
from lxcast.references.hcl import Document, parse
from lxcast.references.literal import find_literal
from lxcast.references.slots import Slot
from tests.hcl_corpus import Sample, corpus
from tests.hcl_shapes import SHAPES, UNREADABLE

NEW = {"string": "v10 \\ é", "number": "42", "bool": "false"}
WRITTEN = {"string": '"v10 \\\\ é"', "number": "42", "bool": "false"}


def read(text: str, name: str = "main.tf") -> Document:
    return parse(text.encode(), Path(name))


def refusal(text: str, address: str, name: str = "main.tf") -> PinError:
    with pytest.raises(PinError) as caught:
        find_literal(read(text, name), address)
    return caught.value


def check_replaced(before: Document, slot: Slot, data: bytes, start: int, literal: bytes) -> None:
    """Replace a literal: no byte but its own changes, it reads back, and every other value is what it was."""
    after = before.replace(slot, NEW[slot.kind])
    assert data[start : start + len(literal)] == literal
    assert after.encode() == data[:start] + WRITTEN[slot.kind].encode() + data[start + len(literal) :]
    assert after.find(slot.address).value == NEW[slot.kind]
    others = [(each.path, each.text) for each in before.slots if each.path != slot.path]
    assert [(each.path, each.text) for each in after.slots if each.path != slot.path] == others


def test_the_corpus_is_large_and_from_several_hands() -> None:
    samples = corpus()
    origins = Counter(sample.origin for sample in samples)
    assert len(samples) >= 500
    assert len({sample.data for sample in samples}) >= 500
    assert max(origins.values()) <= len(samples) / 2
    assert len({name for name, *_ in SHAPES}) == len(SHAPES) >= 30
    assert sum(len(parse(each.data, Path(each.name)).slots) for each in samples if each.origin == "random") > 1000


@pytest.mark.parametrize("sample", [each for each in corpus() if each.address], ids=lambda sample: sample.name)
def test_one_literal_changes_and_no_other_byte(sample: Sample) -> None:
    document = parse(sample.data, Path(sample.name))
    if sample.refusal:
        with pytest.raises(PinError) as caught:
            find_literal(document, sample.address)
        assert caught.value.message.startswith(f"{sample.name}:")
        assert sample.refusal in f"{caught.value.message}\n{caught.value.hint}"
    else:
        check_replaced(document, find_literal(document, sample.address), sample.data, sample.start, sample.literal)


@pytest.mark.parametrize("sample", [each for each in corpus() if not each.address], ids=lambda sample: sample.name)
def test_each_value_of_a_random_file_is_changed_or_refused_with_a_reason(sample: Sample) -> None:
    document = parse(sample.data, Path(sample.name))
    for slot in document.slots[:12]:
        if slot.is_literal:
            start = len(document.text[: slot.start].encode())
            check_replaced(document, find_literal(document, slot.address), sample.data, start, slot.text.encode())
        else:
            with pytest.raises(PinError) as caught:
                find_literal(document, slot.address)
            assert caught.value.message.startswith(f"{sample.name}:{slot.line}:{slot.column}: {slot.address} is ")
            assert caught.value.hint


@pytest.mark.parametrize(("name", "text"), UNREADABLE)
def test_invalid_hcl_is_refused_with_line_and_column(name: str, text: str) -> None:
    with pytest.raises(PinError, match=r"^main\.tf:\d+:\d+: ") as caught:
        read(text)
    assert caught.value.hint, name


def test_bytes_that_are_not_utf_8_are_refused_with_line_and_column() -> None:
    with pytest.raises(PinError, match=r"^main\.tf:2:6: the file is not UTF-8"):
        parse(b'\nv = "\xff"\n', Path("main.tf"))


@pytest.mark.parametrize("text", ["v3", "", 'a "quoted" \\ text', "é 日本 😀", "$ % {x}", "a$", "#no /* comment */"])
def test_a_written_string_is_read_back_unchanged(text: str) -> None:
    document = read('v = "old" # "old"\n', "x.tfvars")
    after = document.replace(find_literal(document, "v"), text)
    assert find_literal(after, "v").value == text
    assert after.text.endswith(' # "old"\n')


@pytest.mark.parametrize(
    ("old", "value"),
    [
        ('"x"', "a\nb"),
        ('"x"', "${file}"),
        ('"x"', "%{if}"),
        ('"x"', "\x7f"),
        ("3", "v3"),
        ("3", ""),
        ("3", "0x10"),
        ("true", "yes"),
        ("false", ""),
    ],
)
def test_a_value_of_another_type_is_refused(old: str, value: str) -> None:
    document = read(f"v = {old}\n", "x.tfvars")
    with pytest.raises(PinError, match="expected a") as caught:
        document.replace(find_literal(document, "v"), value)
    assert old in caught.value.message


def test_an_interpolated_text_names_the_literal_in_another_file(tmp_path: Path) -> None:
    (tmp_path / "versions.tf").write_text('locals {\n  a = local.b\n}\nvariable "n" {\n  default = "debian"\n}\n')
    (tmp_path / "more.tf").write_text('locals {\n  b = "v3"\n}\n')
    (tmp_path / "prod.tfvars").write_text('n = "ubuntu"\n')
    (tmp_path / "broken.tf").write_text("locals {\n")
    main = tmp_path / "main.tf"
    main.write_text('locals {\n  t = "local:vztmpl/${var.n}-${local.a}.tar.zst"\n}\n')
    with pytest.raises(PinError, match="a template string") as caught:
        find_literal(parse(main.read_bytes(), main), "local.t")
    hint = caught.value.hint
    assert f'{tmp_path}/more.tf:2: local.b = "v3"' in hint
    assert f'{tmp_path}/versions.tf:5: variable.n.default = "debian"' in hint
    assert f'{tmp_path}/prod.tfvars:1: n = "ubuntu"' in hint


def test_circular_references_end() -> None:
    assert "only a literal" in refusal("locals {\n  a = local.b\n  b = local.a\n}\n", "local.a").hint


@pytest.mark.parametrize(
    ("address", "candidate"),
    [("local.o", 'local.o["a.b"].c[0] = "x"'), ("local.o.c", 'local.o["a.b"].c[0]'), ("locals.v", 'local.v = "v3"')],
)
def test_an_address_without_a_literal_lists_candidates(address: str, candidate: str) -> None:
    text = 'locals {\n  o = { "a.b" = { c = ["x"] } }\n  v = "v3"\n}\n'
    assert candidate in refusal(text, address).hint


def test_many_candidates_are_cut_short() -> None:
    text = "locals {\n  l = [" + ", ".join("1" * 12) + "]\n}\n"
    assert "and 2 more" in refusal(text, "local.l").hint


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(PinError, match="nested too deeply"):
        read("v = " + "[" * 3000 + "]" * 3000 + "\n", "x.tfvars")
