"""DSSE envelopes and Sigstore bundles: the two files that a signed statement is exchanged in.

The envelope is DSSE v1 (https://github.com/secure-systems-lab/dsse/blob/master/envelope.md), which
`packer verify-attestation` reads. The bundle is Sigstore's v0.3 with a public key instead of a certificate, which
cosign 3.0.4 and later read offline. cosign accepts no `keyid` in the envelope of a bundle; Packer needs none, but
prints it.
"""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from lxcast.errors import EvidenceError

PAYLOAD_TYPE = "application/vnd.in-toto+json"
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"


@dataclass(frozen=True, slots=True)
class Envelope:
    """A statement with the signatures over it."""

    payload: bytes
    signatures: tuple[bytes, ...]

    @property
    def signed_bytes(self) -> bytes:
        """The pre-authentication encoding (PAE) that each signature covers."""
        return encode_for_signing(self.payload)


def encode_for_signing(payload: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding of a statement."""
    return b"DSSEv1 %d %b %d %b" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def write_envelope(payload: bytes, signature: bytes, public_key: bytes) -> bytes:
    """Return the bare envelope; `public_key` is the signer's SubjectPublicKeyInfo in DER."""
    keyid = hashlib.sha256(public_key).hexdigest()
    return _to_json(_envelope(payload, {"keyid": keyid, "sig": _base64(signature)}))


def write_bundle(payload: bytes, signature: bytes, public_key: bytes) -> bytes:
    """Return the Sigstore bundle; `public_key` is the signer's SubjectPublicKeyInfo in DER."""
    hint = _base64(hashlib.sha256(public_key).digest())
    return _to_json(
        {
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
            "dsseEnvelope": _envelope(payload, {"sig": _base64(signature)}),
        }
    )


def parse_envelope(data: bytes, where: str) -> Envelope:
    """Read an envelope, bare or in a Sigstore bundle of any version; `where` names it in messages.

    Raises EvidenceError if it is malformed, holds another kind of payload, or has no signature.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"{where}: not valid JSON: {error}", hint=_HINT) from error
    if isinstance(document, dict) and "mediaType" in document:
        document = document.get("dsseEnvelope")
    if not isinstance(document, dict):
        raise EvidenceError(f"{where}: holds no DSSE envelope", hint=_HINT)
    if document.get("payloadType") != PAYLOAD_TYPE:
        raise EvidenceError(
            f"{where}: expected payloadType {PAYLOAD_TYPE}, got {document.get('payloadType')!r:.80}", hint=_HINT
        )
    signatures = document.get("signatures")
    if not isinstance(signatures, list) or not signatures:
        raise EvidenceError(f"{where}: the envelope has no signature", hint=_HINT)
    try:
        payload = base64.b64decode(document["payload"], validate=True)
        decoded = tuple(base64.b64decode(each["sig"], validate=True) for each in signatures)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise EvidenceError(f"{where}: malformed DSSE envelope: {error}", hint=_HINT) from error
    return Envelope(payload, decoded)


_HINT = "restore the file from where the template was built, or sign the template again: lxcast sign"


def _envelope(payload: bytes, signature: dict[str, str]) -> dict[str, Any]:
    return {"payload": _base64(payload), "payloadType": PAYLOAD_TYPE, "signatures": [signature]}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _to_json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=2).encode() + b"\n"
