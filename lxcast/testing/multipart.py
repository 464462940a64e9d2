"""The upload's body, read as Proxmox's hand-written parser reads it: by patterns over what has come so far.

It runs once for each TLS record and has no memory of where it stands but a phase, so order, bytes and record borders
matter (pve-http-server, AnyEvent.pm file_upload_multipart). Nothing here is lenient where that is not, or the reverse.
"""

import os
import re
from enum import Enum
from pathlib import Path

FIELDS = ("content", "checksum-algorithm", "checksum")
NEWLINE = rb"\r?\n"
HEADERS_END = re.compile(rb".*?(?:\r?\n){2}", re.DOTALL)
DISPOSITION = rb"Content-Disposition: (.*?); name="
PERL = " at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line"


class UploadError(Exception):
    """The parser gave up; the text is what the client is told, with status 500 or, where it holds CRs, a bare 400."""


class NoSpaceError(Exception):
    """The temporary file cannot be written: the parser dies, and the connection closes without a reply."""


class Phase(Enum):
    """How far the parser came."""

    PREAMBLE = 0
    FIELDS = 1
    DATA = 2
    COMPLETE = 100


class Multipart:
    """A parser that writes the file's data into a temporary file and collects the fields.

    `size` is the Content-Length in bytes, which is only compared at the end; `room` is the free space for the
    temporary file, None for no limit.
    """

    def __init__(self, boundary: str, size: int, temporary: Path, room: int | None = None) -> None:
        quoted = re.escape(boundary.encode("latin-1"))
        self.parameters: dict[str, str] = {}
        self.phase = Phase.PREAMBLE
        self.buffered = b""
        self.size, self.read, self.written, self.room = size, 0, 0, room
        # CRLF "--" BOUNDARY "--" CRLF: so much is held back, since it may be the start of the end.
        self.held = len(boundary) + 8
        delimiter = rb"--" + quoted + NEWLINE
        self.delimiter = re.compile(delimiter)
        self.closing = b"--" + boundary.encode("latin-1") + b"--"
        self.fields = {
            name: re.compile(
                delimiter + rb".*?" + DISPOSITION + b'"' + name.encode() + b'"(.*?' + delimiter + b")", re.DOTALL
            )
            for name in FIELDS
        }
        self.file = re.compile(delimiter + DISPOSITION + rb'"(.*?)"; filename="([^"]+)"', re.DOTALL)
        self.out = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    def feed(self, record: bytes) -> bool:
        """Take one record; True when the file is complete, which it is again for each record after the end.

        Raises UploadError.
        """
        self.buffered += record
        before = len(self.buffered)
        if self.phase is Phase.PREAMBLE and (found := self.delimiter.search(self.buffered)):
            self.buffered = self.buffered[found.start() :]
            self.read += before - len(self.buffered)
            self.phase = Phase.FIELDS
        if self.phase is Phase.FIELDS:
            self.take_fields()
        if self.phase is Phase.DATA:
            self.take_data()
        # What went before the first delimiter is counted twice, as the real one counts it.
        self.read += before - len(self.buffered)
        if self.phase is Phase.COMPLETE:
            return True
        if self.read + len(self.buffered) >= self.size:
            raise UploadError(f"upload failed{PERL} 1373.\n")
        return False

    def take_fields(self) -> None:
        """Take each known field that stands first, in their one order, then the head of the file's part."""
        for name in FIELDS:
            found = self.fields[name].match(self.buffered)
            if not found:
                continue
            check_disposition(found[1])
            value, delimiter = self.after_headers(found[2] + self.buffered[found.end() :]), self.delimiter
            border = delimiter.search(value)
            if border:
                self.parameters[name] = value[: border.start()].strip().decode("utf-8", "replace")
                value = value[border.start() :]
            self.buffered = value
        found = self.file.match(self.buffered)
        if not found:
            return
        check_disposition(found[1])
        if found[2] != b"filename":
            name = found[2].decode("utf-8", "replace")
            raise UploadError(f"wrong field name '{name}' for file upload, expected 'filename'{PERL} 1335.\n")
        self.phase = Phase.DATA
        self.parameters["filename"] = found[3].strip().decode("utf-8", "surrogateescape")
        # The blank line may not have come yet: then its header lines become data.
        self.buffered = self.after_headers(self.buffered[found.end() :])

    @staticmethod
    def after_headers(data: bytes) -> bytes:
        """Cut the rest of a part's header up to the blank line, where there is one."""
        found = HEADERS_END.match(data)
        return data[found.end() :] if found else data

    def take_data(self) -> None:
        """Write what is surely data; at the closing delimiter the rest, and throw away what follows it."""
        end = self.buffered.find(self.closing)
        if end >= 0:
            data, self.buffered = self.buffered[:end], b""
            data = data[:-2] if data.endswith(b"\r\n") else data.removesuffix(b"\n")
            self.phase = Phase.COMPLETE
        else:
            sure = max(len(self.buffered) - self.held, 0)
            data, self.buffered = self.buffered[:sure], self.buffered[sure:]
        if self.room is not None and self.written + len(data) > self.room:
            raise NoSpaceError
        while data:
            count = os.write(self.out, data)
            self.written += count
            data = data[count:]

    def close(self) -> None:
        """Close the temporary file, which stays."""
        os.close(self.out)


def check_disposition(value: bytes) -> None:
    """Refuse a part that is not form data."""
    if value != b"form-data":
        said = value.decode("utf-8", "replace")
        raise UploadError(f"wrong Content-Disposition '{said}' in multipart, expected 'form-data'\n")
