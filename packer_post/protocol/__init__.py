"""Packer's plugin protocol, version 5, as a plugin sees it; standard library only: it answers though all else is gone.

From the bottom up: `yamux` shares one connection among streams, `broker` gives a stream its number, `rpc` is Go's
net/rpc with bodies in MessagePack (`msgpack`), `hcl_spec` describes arguments (`gob` for Packer before 1.12), `server`
does the handshake and offers one post-processor. The wire was described from packer-plugin-sdk (rpc/, plugin/) and
hashicorp/yamux (spec.md), and tried with Packer 1.6.6 and 1.15.0.
"""


class ProtocolError(Exception):
    """What the other side sent is none of the protocol, or the connection has ended."""
