"""The arguments that a post-processor takes, as Packer wants them described.

By protobuf since Packer 1.12 (packer-plugin-sdk, rpc/hcl_spec.proto), before by gob of hcldec.ObjectSpec
(hashicorp/hcl, hcldec/spec.go). Arguments alone: the gob name of a nested block holds the path of a vendored library
in Debian's Packer, so that no block is understood by every Packer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from packer_post.protocol import gob

_PRIMITIVES = {"string": ("S", "cty.String"), "bool": ("B", "cty.Bool"), "number": ("N", "cty.Number")}
_OBJECT, _ATTRIBUTE, _TYPE = 65, 66, 67
_CTY = "github.com/zclconf/go-cty/cty."


@dataclass(frozen=True, slots=True)
class Attribute:
    """One argument; `type` is string, bool, number, list(string) or map(string)."""

    name: str
    type: str
    description: str
    required: bool = False


def as_gob(attributes: Sequence[Attribute]) -> bytes:
    """Return the gob of an ObjectSpec."""
    entries = b"".join(gob.text(each.name) + _gob_attribute(each) for each in attributes)
    return (
        gob.define_map(_OBJECT, "ObjectSpec", gob.STRING, gob.INTERFACE)
        + gob.define_struct(_ATTRIBUTE, "AttrSpec", [("Name", gob.STRING), ("Type", _TYPE), ("Required", gob.BOOL)])
        + gob.define_encoder(_TYPE, "Type")
        + gob.message(_OBJECT, gob.single(gob.unsigned(len(attributes)) + entries))
    )


def _gob_attribute(attribute: Attribute) -> bytes:
    fields = {0: gob.text(attribute.name), 1: gob.text(_gob_type(attribute.type))}
    if attribute.required:
        fields[2] = b"\1"
    return gob.interface("*hcldec.AttrSpec", _ATTRIBUTE, gob.struct(fields))


def _gob_type(kind: str) -> bytes:
    """Return a cty.Type, which is a gob stream of its own: a struct of a version, 0, and the type as an interface."""
    outer, inner, element = 65, 66, 67
    stream = gob.define_struct(outer, "gobType", [("Version", gob.INT), ("Impl", gob.INTERFACE)])
    if kind in _PRIMITIVES:
        stream += gob.define_struct(inner, "primitiveType", [("Kind", gob.UINT)])
        value = gob.struct({0: gob.unsigned(ord(_PRIMITIVES[kind][0]))})
        name = "primitiveType"
    else:
        name = {"list": "typeList", "map": "typeMap"}[kind.partition("(")[0]]
        stream += gob.define_struct(inner, name, [("ElementTypeT", element)]) + gob.define_encoder(element, "Type")
        value = gob.struct({0: gob.text(_gob_type(_element(kind)))})
    return stream + gob.message(outer, gob.struct({1: gob.interface(_CTY + name, inner, value)}))


def as_protobuf(attributes: Sequence[Attribute]) -> bytes:
    """Return the protobuf of a Spec that is an object: a map from name to Spec."""
    entries = (
        _field(1, _field(1, each.name.encode()) + _field(2, _field(2, _protobuf_attribute(each))))
        for each in attributes
    )
    return _field(1, b"".join(entries))


def _protobuf_attribute(attribute: Attribute) -> bytes:
    required = b"\x18\x01" if attribute.required else b""  # field 3, a varint: true
    return _field(1, attribute.name.encode()) + _field(2, _protobuf_type(attribute.type)) + required


def _protobuf_type(kind: str) -> bytes:
    if kind in _PRIMITIVES:
        return _field(1, _field(1, _PRIMITIVES[kind][1].encode()))
    return _field({"list": 2, "map": 3}[kind.partition("(")[0]], _field(1, _protobuf_type(_element(kind))))


def _field(number: int, data: bytes) -> bytes:
    """Return a field that holds bytes, a text or a message."""
    size, length = len(data), b""
    while size >= 128:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + data


def _element(kind: str) -> str:
    return kind.partition("(")[2].rstrip(")")
