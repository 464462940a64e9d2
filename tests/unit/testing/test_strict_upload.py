"""The rows of STRICTNESS on uploads: each test is named after its row."""

import os
import subprocess
import time
from pathlib import Path

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lxcast.testing import Cluster
from tests.unit.testing.raw import BOUNDARY, CONTENT, FILE, UPLOAD, answered, ask, form, head, send, stored, upload

DATA = bytes(range(256)) * 20
ALGORITHM = b'Content-Disposition: form-data; name="checksum-algorithm"\r\n\r\nsha256'
CHECKSUM = b'Content-Disposition: form-data; name="checksum"\r\n\r\n' + b"0" * 64
WHOLE = form(CONTENT, FILE + DATA)


def temporary(server: Cluster) -> list[Path]:
    return [*server.temporary("pve").glob("*")]


def test_a_correct_upload_is_stored_once_and_leaves_no_temporary_file(server: Cluster) -> None:
    reply = answered(upload(server, WHOLE))
    assert (reply.status, reply.headers["Connection"]) == (200, "close")
    assert stored(server) == DATA
    assert [(task.upid, task.exitstatus) for task in server.tasks.all] == [(reply.json["data"], "OK")]
    assert temporary(server) == []


@pytest.mark.parametrize(
    "body",
    [
        WHOLE.replace(b"\r\n", b"\n"),
        form(CONTENT.replace(b"\r\n\r\n", b"\r\nContent-Type: text/plain\r\n\r\n"), FILE + DATA),
        form(CONTENT, FILE.replace(b"\r\n\r\n", b"\r\nContent-Type: application/zstd\r\n\r\n") + DATA),
        b"a preamble\r\n" + WHOLE,
    ],
)
def test_what_is_tolerated(server: Cluster, body: bytes) -> None:
    assert answered(upload(server, body)).status == 200
    assert (stored(server) or b"").replace(b"\r\n", b"\n") == DATA.replace(b"\r\n", b"\n")


def test_fields_may_stand_in_the_query(server: Cluster) -> None:
    assert answered(upload(server, form(FILE + DATA), path=f"{UPLOAD}?content=vztmpl")).status == 200
    assert stored(server) == DATA


def test_upload_content_length(server: Cluster) -> None:
    kind = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
    reply = answered(ask(server, f"POST {UPLOAD}", kind))
    missing = "property is missing and it is not optional"
    assert (reply.status, reply.json["errors"]) == (400, {"content": missing, "filename": missing})


@pytest.mark.parametrize(
    "kind",
    [
        f"Multipart/Form-Data; boundary={BOUNDARY}",
        f"multipart/mixed; boundary={BOUNDARY}",
        f"multipart/form-data; Boundary={BOUNDARY}",
        "multipart/form-data; boundary=a b",
        "multipart/form-data",
    ],
)
def test_upload_content_type(server: Cluster, kind: str) -> None:
    server.faults.idle = 1.0
    began = time.monotonic()
    assert upload(server, WHOLE, kind=kind) is None
    assert time.monotonic() - began >= 0.9


def test_a_quoted_boundary_keeps_its_quotes(server: Cluster) -> None:
    reply = answered(upload(server, WHOLE, kind=f'multipart/form-data; boundary="{BOUNDARY}"'))
    assert (reply.status, reply.body.startswith(b"upload failed")) == (500, True)


@pytest.mark.parametrize("parts", [(ALGORITHM, CONTENT, CHECKSUM), (CONTENT, CHECKSUM, ALGORITHM)])
def test_upload_field_order(server: Cluster, parts: tuple[bytes, ...]) -> None:
    reply = answered(upload(server, form(*parts, FILE + DATA)))
    assert (reply.status, reply.reason, reply.body) == (400, "Bad Request", b"")


@pytest.mark.parametrize("name", [b"extra", b"node", b"tmpfilename", b"filename"])
def test_upload_unknown_field(server: Cluster, name: bytes) -> None:
    unknown = b'Content-Disposition: form-data; name="' + name + b'"\r\n\r\nvalue'
    reply = answered(upload(server, form(CONTENT, unknown, FILE + DATA)))
    assert (reply.status, reply.reason, reply.body) == (400, "Bad Request", b"")


def test_upload_file_last(server: Cluster) -> None:
    first = answered(upload(server, form(FILE + DATA, CONTENT)))
    assert (first.status, [*first.json["errors"]]) == (400, ["content"])
    between = answered(upload(server, form(CONTENT, FILE + DATA, CHECKSUM)))
    assert between.status == 200
    assert (stored(server) or b"").startswith(DATA + b"\r\n--" + BOUNDARY.encode() + b"\r\nContent-Disposition")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (FILE.replace(b'name="filename"', b'name="file"'), "wrong field name 'file' for file upload"),
        (b"Content-Type: application/zstd\r\n" + FILE, "upload failed"),
        (FILE.replace(b"Content-Disposition", b"content-disposition"), "upload failed"),
        (FILE.replace(b'"', b""), "upload failed"),
        (b'Content-Disposition: form-data; filename="x.tar.zst"; name="filename"\r\n\r\n', "upload failed"),
        (FILE.replace(b'filename="x.tar.zst"', b"filename*=UTF-8''x.tar.zst"), "upload failed"),
    ],
)
def test_upload_file_header(server: Cluster, header: bytes, said: str) -> None:
    reply = answered(upload(server, form(CONTENT, header + DATA)))
    assert (reply.status, reply.body.decode().startswith(said)) == (500, True)
    assert reply.reason.startswith(said)
    assert stored(server) is None


def test_upload_one_write(server: Cluster) -> None:
    more = FILE.replace(b"\r\n\r\n", b"\r\nContent-Type: application/zstd\r\n\r\n")
    body = form(CONTENT, more + DATA)
    after_disposition = body.index(b"\r\nContent-Type")
    assert answered(upload(server, body, splits=[after_disposition], pause=0.05)).status == 200
    assert stored(server) == b"\r\nContent-Type: application/zstd\r\n\r\n" + DATA


def test_upload_no_late_bytes(server: Cluster) -> None:
    body = form(CONTENT, FILE + DATA, end=b"\r\n")
    reply = answered(upload(server, body, splits=[len(body) - 2]))
    assert reply.status == 200
    assert stored(server) is None
    first, second = server.tasks.all
    assert (first.upid, first.exitstatus) == (reply.json["data"], "OK")
    assert second.exitstatus.startswith("import failed: ")
    assert "finished file import successfully" in first.log


def test_a_final_newline_in_the_same_record_does_no_harm(server: Cluster) -> None:
    assert answered(upload(server, form(CONTENT, FILE + DATA, end=b"\r\n"))).status == 200
    assert (stored(server), len(server.tasks.all)) == (DATA, 1)


def test_both_tasks_of_a_double_upload_fail_on_a_wrong_checksum(server: Cluster) -> None:
    body = form(CONTENT, ALGORITHM, CHECKSUM, FILE + DATA, end=b"\r\n")
    upload(server, body, splits=[len(body) - 2])
    assert stored(server) is None
    assert all(task.exitstatus != "OK" for task in server.tasks.all)


def test_upload_no_stall(server: Cluster) -> None:
    half = len(WHOLE) // 2
    assert answered(upload(server, WHOLE, splits=[half], pause=0.5)).status == 200
    server.faults.idle = 0.3
    assert upload(server, WHOLE, splits=[half], pause=0.6) is None
    assert temporary(server) == []


def test_upload_refused_early(server: Cluster) -> None:
    wrong = "PVEAPIToken=tester@pve!lxcast=wrong"
    small = answered(upload(server, WHOLE, authorization=wrong))
    assert (small.status, small.reason, small.body) == (401, "Authentication failed!", b"")
    large = form(CONTENT, FILE + bytes(1 << 20))
    assert upload(server, large, authorization=wrong) is None
    server.access.acl.clear()
    forbidden = answered(upload(server, WHOLE))
    assert (forbidden.status, forbidden.body) == (403, b"")
    assert forbidden.reason == "Permission check failed (/storage/local, Datastore.AllocateTemplate)"
    assert upload(server, large) is None
    assert temporary(server) == []


def test_the_refusal_waits_as_long_as_it_is_told_to(server: Cluster) -> None:
    server.faults.refusal_delay = 0.5
    began = time.monotonic()
    assert answered(upload(server, WHOLE, authorization="PVEAPIToken=a@pve!bc=d")).status == 401
    assert time.monotonic() - began >= 0.5


def test_upload_no_tmpfilename(server: Cluster) -> None:
    server.faults.idle = 1.0
    assert upload(server, WHOLE, path=f"{UPLOAD}?tmpfilename=/var/tmp/pveupload-0") is None


def test_upload_space_twice(server: Cluster) -> None:
    server.faults.temporary_space = 1000
    assert upload(server, WHOLE) is None
    server.faults.temporary_space = None
    server.storages["local"].content = ("iso",)
    unsupported = answered(upload(server, WHOLE))
    assert unsupported.json["message"] == "storage 'local' does not support 'vztmpl' content\n"
    assert len(temporary(server)) == 2


def test_a_content_length_that_is_far_too_small_ends_the_upload(server: Cluster) -> None:
    reply = answered(send(server, [head(server, len(WHOLE) - 3000), WHOLE[: len(WHOLE) - 3000]]))
    assert (reply.status, reply.body.startswith(b"upload failed")) == (500, True)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_an_upload_can_be_cut(server: Cluster, share: float) -> None:
    server.faults.cut_upload = share
    body = form(CONTENT, FILE + DATA * 100)
    assert upload(server, body, splits=range(16384, len(body), 16384)) is None
    assert stored(server) == (DATA * 100 if share == 1.0 else None)
    assert temporary(server) == []


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.binary(max_size=3000), cuts=st.lists(st.integers(0, 3000), max_size=6))
def test_data_arrives_whole_wherever_its_records_end(server: Cluster, data: bytes, cuts: list[int]) -> None:
    body = form(CONTENT, FILE + data)
    start = body.index(FILE) + len(FILE)
    splits = sorted({start + cut for cut in cuts if start + cut < len(body) - 1})
    assert answered(upload(server, body, splits=splits)).status == 200
    assert stored(server) == data


@pytest.mark.parametrize("size", [0, 1, 16384, 3_000_000])
def test_curl_uploads(server: Cluster, tmp_path: Path, size: int) -> None:
    file, data = tmp_path / "x.tar.zst", os.urandom(size)
    file.write_bytes(data)
    command = ["curl", "--silent", "--show-error", "--fail-with-body", "--cacert", str(server.ca)]
    command += ["--header", f"Authorization: {server.authorization}", "--form", "content=vztmpl"]
    subprocess.run([*command, "--form", f"filename=@{file}", server.url + UPLOAD], check=True, capture_output=True)
    assert stored(server) == data


@pytest.mark.parametrize(("body_length", "tasks"), [(16384 * 2 + 1, 2), (16384 * 2 + 2, 2), (16384 * 2 + 3, 1)])
def test_an_iterated_body_of_requests_is_taken_twice_at_the_lengths_of_the_real_server(
    server: Cluster, body_length: int, tasks: int
) -> None:
    """http.client sends a file in blocks; the last holds one or two bytes, or the end of the delimiter as well."""
    empty = len(form(CONTENT, FILE, end=b"\r\n"))
    body = form(CONTENT, FILE + bytes(body_length - empty), end=b"\r\n")
    blocks = (body[start : start + 16384] for start in range(0, len(body), 16384))
    headers = {
        "Authorization": server.authorization,
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        "Content-Length": str(len(body)),
    }
    session = requests.Session()
    prepared = session.prepare_request(requests.Request("POST", server.url + UPLOAD, headers, data=blocks))
    del prepared.headers["Transfer-Encoding"]
    assert session.send(prepared, verify=str(server.ca)).status_code == 200
    session.close()
    server.tasks.wait()
    assert len(server.tasks.all) == tasks
