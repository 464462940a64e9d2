"""Streams over one connection: whatever the pieces, the order and the end, no thread waits for ever."""

import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packer_post.protocol import ProtocolError
from packer_post.protocol.yamux import MAX_STREAMS, WINDOW, Session, Stream

HEADER = struct.Struct(">BBHII")
DATA, UPDATE, PING = 0, 1, 2
SYN, ACK, FIN, RST = 1, 2, 4, 8
PATIENCE = 240.0


def echo(stream: Stream) -> None:
    """Send back what comes, then end; in a thread, as a session's own thread must not wait."""

    def run() -> None:
        try:
            while data := stream.recv(1 << 16):
                stream.send(data)
            stream.close()
        except ProtocolError:
            stream.reset()

    threading.Thread(target=run, daemon=True).start()


def frame(kind: int, flags: int, stream: int, length: int, data: bytes = b"") -> bytes:
    return HEADER.pack(0, kind, flags, stream, length) + data


class Wire:
    """The raw other end of a session that echoes."""

    def __init__(self) -> None:
        self.raw, own = socket.socketpair()
        self.raw.settimeout(PATIENCE)
        self.session = Session(own, echo)

    def frame(self) -> tuple[int, int, int, int, bytes]:
        _, kind, flags, stream, length = HEADER.unpack(self._exactly(HEADER.size))
        return kind, flags, stream, length, self._exactly(length) if kind == DATA else b""

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.raw.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.raw.close()
    assert wire.session.ended.wait(PATIENCE)


@pytest.fixture
def pair() -> Iterator[Session]:
    """A session whose other side echoes, with a wire between that cuts the bytes at random places."""
    ours, left = socket.socketpair()
    right, theirs = socket.socketpair()
    for source, target in ((left, right), (right, left)):
        threading.Thread(target=cut, args=(source, target), daemon=True).start()
    other = Session(theirs, echo)
    session = Session(ours, echo, client=True)
    yield session
    session.close()
    assert other.ended.wait(PATIENCE)


def cut(source: socket.socket, target: socket.socket) -> None:
    chance = random.Random(7)
    try:
        while data := source.recv(1 << 16):
            while data:
                size = chance.choice((1, 2, 11, 12, 13, 5000, 65536))
                target.sendall(data[:size])
                data = data[size:]
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    finally:
        source.close()


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Run the work in as many threads, and show what any of them raised."""
    failed: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0))
    assert not any(thread.is_alive() for thread in threads)
    assert failed == []


def test_more_than_a_window_comes_back_through_a_wire_that_cuts_frames(pair: Session) -> None:
    content = random.Random(1).randbytes(3 * WINDOW + 17)
    stream = pair.open()

    def send() -> None:
        stream.send(content)
        stream.close()

    threading.Thread(target=send, daemon=True).start()
    assert stream.read(len(content), PATIENCE) == content
    assert stream.recv(1, PATIENCE) == b""


def test_hundreds_of_streams_at_once(pair: Session) -> None:
    def work(number: int) -> None:
        stream = pair.open()
        content = bytes([number % 256]) * (number * 37 % 5000 + 1)
        stream.send(content)
        assert stream.read(len(content), PATIENCE) == content
        stream.close()

    in_threads(300, work)


def test_a_stream_that_nobody_reads_stops_none_beside_it(pair: Session) -> None:
    slow = pair.open()
    blocked = threading.Thread(target=lambda: slow.send(b"x" * (4 * WINDOW)), daemon=True)
    blocked.start()
    for _ in range(3):
        quick = pair.open()
        quick.send(b"here")
        assert quick.read(4, PATIENCE) == b"here"
    assert blocked.is_alive(), "what the other side has no room for is not sent"
    # A slow reader frees all of it in the end.
    assert len(slow.read(4 * WINDOW, PATIENCE)) == 4 * WINDOW
    blocked.join(PATIENCE)
    assert not blocked.is_alive()


def test_credit_is_given_while_a_value_of_more_than_a_window_is_read(wire: Wire) -> None:
    # The echo's reader asks for the whole; a reader that gave credit afterwards would wait for what never comes.
    got = bytearray()
    wire.raw.sendall(frame(UPDATE, SYN, 1, 0))
    credit, sent, size = WINDOW, 0, 3 * WINDOW
    while len(got) < size:
        if sent < size and credit:
            step = min(credit, size - sent, 1 << 15)
            wire.raw.sendall(frame(DATA, 0, 1, step, b"y" * step))
            sent, credit = sent + step, credit - step
            if credit:
                continue
        kind, _, stream, length, data = wire.frame()
        if kind == UPDATE and stream == 1:
            credit += length
        got += data
        if data:
            wire.raw.sendall(frame(UPDATE, 0, 1, len(data)))
    assert got == b"y" * size


def test_a_ping_is_answered_with_its_value(wire: Wire) -> None:
    wire.raw.sendall(frame(PING, SYN, 0, 0xDEADBEEF))
    assert wire.frame() == (PING, ACK, 0, 0xDEADBEEF, b"")


def test_a_ping_is_answered_while_a_stream_waits_for_credit(wire: Wire) -> None:
    wire.raw.sendall(frame(UPDATE, SYN, 1, 0) + frame(DATA, 0, 1, WINDOW, b"z" * WINDOW))
    received = 0
    while received < WINDOW:
        received += len(wire.frame()[4])
    wire.raw.sendall(frame(DATA, 0, 1, 10, b"z" * 10) + frame(PING, SYN, 0, 5))
    while (answer := wire.frame())[0] != PING:
        assert answer[0] == UPDATE, "no data beyond the credit"
    assert answer[3] == 5


def test_the_end_comes_behind_the_data(wire: Wire) -> None:
    wire.raw.sendall(frame(UPDATE, SYN, 1, 0) + frame(DATA, FIN, 1, 3, b"end"))
    frames = [wire.frame() for _ in range(3)]
    assert frames == [(UPDATE, ACK, 1, 0, b""), (DATA, 0, 1, 3, b"end"), (UPDATE, FIN, 1, 0, b"")]


def test_a_sudden_end_frees_who_reads_and_who_sends() -> None:
    raw, own = socket.socketpair()
    session = Session(own, echo)
    reading, sending = session.open(), session.open()
    ended: list[str] = []

    def read() -> None:
        with pytest.raises(ProtocolError):
            reading.read(10)
        ended.append("read")

    def send() -> None:
        with pytest.raises(ProtocolError):
            sending.send(b"x" * (8 * WINDOW))
        ended.append("send")

    threads = [threading.Thread(target=each, daemon=True) for each in (read, send)]
    for thread in threads:
        thread.start()
    raw.recv(1)
    raw.close()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(ended) == ["read", "send"]
    with pytest.raises(ProtocolError):
        session.open()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "not a yamux frame"),
        (frame(DATA, SYN, 1, WINDOW + 1), "credit"),
        (frame(UPDATE, SYN, 2, 0), "cannot open"),
        (frame(UPDATE, SYN, 1, 0) * 2, "cannot open"),
        (frame(DATA, SYN, 1, 100, b"short"), ""),
    ],
)
def test_what_is_no_yamux_ends_the_connection(wire: Wire, content: bytes, fault: str) -> None:
    wire.raw.sendall(content)
    wire.raw.shutdown(socket.SHUT_WR)
    assert wire.session.ended.wait(PATIENCE)
    assert fault in wire.session.fault


def test_one_stream_too_many_is_reset(wire: Wire) -> None:
    wire.raw.sendall(b"".join(frame(UPDATE, SYN, 2 * number + 1, 0) for number in range(MAX_STREAMS)))
    for _ in range(MAX_STREAMS):
        assert wire.frame()[1] == ACK
    wire.raw.sendall(frame(UPDATE, SYN, 2 * MAX_STREAMS + 1, 0))
    assert wire.frame()[:3] == (UPDATE, RST, 2 * MAX_STREAMS + 1)


FRAME = st.builds(
    frame, st.integers(0, 3), st.integers(0, 15), st.integers(0, 5), st.integers(0, 70), st.binary(max_size=70)
)


@settings(deadline=None, max_examples=60)
@given(st.lists(FRAME | st.binary(max_size=40), max_size=20))
def test_any_bytes_end_in_bounded_time(parts: list[bytes]) -> None:
    wire = Wire()
    try:
        wire.raw.sendall(b"".join(parts))
        wire.raw.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the session has ended already
    assert wire.session.ended.wait(PATIENCE)
    wire.raw.close()
