"""The description of arguments, against bytes that Go reads (integration tests run both Packers on the real table)."""

from packer_post.protocol import gob
from packer_post.protocol.hcl_spec import Attribute, as_gob, as_protobuf


def test_protobuf_has_the_fields_of_the_schema() -> None:
    # Spec.object = 1, Object.attributes = 1 (key = 1, value = 2), Spec.attr = 2,
    # Attr{name = 1, type = 2, required = 3},
    # CtyType{primitive = 1, list = 2, map = 3}, CtyPrimitive.typeString = 1, elementType = 1.
    primitive = b"\x0a\x0c\x0a\x0acty.String"
    attr = b"\x0a\x01n" + b"\x12\x0e" + primitive + b"\x18\x01"
    spec = b"\x12" + bytes([len(attr)]) + attr
    entry = b"\x0a\x01n" + b"\x12" + bytes([len(spec)]) + spec
    expected = b"\x0a" + bytes([len(entry)]) + entry
    assert as_protobuf([Attribute("n", "string", "", required=True)]) == b"\x0a" + bytes([len(expected)]) + expected


def test_protobuf_of_collections_holds_their_element() -> None:
    content = as_protobuf([Attribute("l", "list(string)", ""), Attribute("m", "map(number)", "")])
    assert b"\x12\x10\x0a\x0e\x0a\x0c\x0a\x0acty.String" in content
    assert b"\x1a\x10\x0a\x0e\x0a\x0c\x0a\x0acty.Number" in content


def test_gob_numbers_are_those_of_its_documentation() -> None:
    # encoding/gob, doc.go: 7 is 07, 256 is FE 01 00; -129 is FE 01 01.
    assert [gob.unsigned(7), gob.unsigned(256)] == [b"\x07", b"\xfe\x01\x00"]
    assert [gob.signed(-129), gob.signed(3)] == [b"\xfe\x01\x01", b"\x06"]


def test_gob_definitions_are_those_that_go_writes() -> None:
    # From Go 1.26's own encoder, for hcldec.ObjectSpec and hcldec.AttrSpec.
    assert gob.define_map(64, "ObjectSpec", gob.STRING, gob.INTERFACE) == bytes.fromhex(
        "197f0401010a4f626a6563745370656301ff8000010c01100000"
    )
    assert gob.define_encoder(66, "Type") == bytes.fromhex("10ff83050101045479706501ff84000000")
    fields = [("Name", gob.STRING), ("Type", 66), ("Required", gob.BOOL)]
    assert gob.define_struct(65, "AttrSpec", fields)[1:] == bytes.fromhex(
        "ff8103010108417474725370656301ff8200010301044e616d65010c0001045479706501ff8400010852657175697265640102000000"
    )


def test_gob_names_each_argument_and_its_type() -> None:
    content = as_gob([Attribute("name", "string", "", required=True), Attribute("tags", "map(string)", "")])
    for part in (
        b"\x04name\x10*hcldec.AttrSpec",
        b"cty.primitiveType",
        b"\x04tags\x10*hcldec.AttrSpec",
        b"cty.typeMap",
    ):
        assert part in content
