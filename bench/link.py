"""A link of limited speed: a relay of TCP connections on loopback, `python -m bench.link PORT BYTES_PER_SECOND`.

What goes to PORT passes at that rate, all connections together; answers pass freely. It prints the port that it
listens on, and ends with its standard input.
"""

import contextlib
import socket
import sys
import threading
import time

PIECE = 1 << 16


class Rate:
    """Bytes per second, shared by all that wait here."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._free = 0.0
        self._lock = threading.Lock()

    def wait(self, count: int) -> None:
        """Return when so many bytes have passed."""
        with self._lock:
            self._free = max(self._free, time.monotonic()) + count / self._rate
            free = self._free
        time.sleep(max(free - time.monotonic(), 0))


def pass_on(source: socket.socket, target: socket.socket, rate: Rate | None) -> None:
    """Pass on what comes, to its end."""
    with contextlib.suppress(OSError):
        while piece := source.recv(PIECE):
            if rate:
                rate.wait(len(piece))
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


def accept(listener: socket.socket, port: int, rate: Rate) -> None:
    """Take connections as long as the program runs."""
    while True:
        near, _ = listener.accept()
        far = socket.create_connection(("127.0.0.1", port))
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=pass_on, args=(near, far, rate), daemon=True).start()
        threading.Thread(target=pass_on, args=(far, near, None), daemon=True).start()


if __name__ == "__main__":
    opened = socket.create_server(("127.0.0.1", 0))
    arguments = (opened, int(sys.argv[1]), Rate(float(sys.argv[2])))
    threading.Thread(target=accept, args=arguments, daemon=True).start()
    print(opened.getsockname()[1], flush=True)
    sys.stdin.read()
