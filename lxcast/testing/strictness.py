"""What a Proxmox VE server demands of its clients: one row for each rule that the stand-in enforces.

The sources are Proxmox's own: `AnyEvent.pm` is pve-http-server (src/PVE/APIServer/), `HTTPServer.pm` and `Tasks.pm`
pve-manager, `Status.pm`, `Content.pm`, `Config.pm` and `Storage.pm` pve-storage, `Tools.pm` and `UPID.pm` pve-common,
`Create.pm` pve-container, in the versions of Proxmox VE 9.2. Rows marked "tried" were also seen on Proxmox's unmodified
server.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Strictness:
    """A rule: its identifier, where it applies, what the server wants, what happens otherwise, and who says so."""

    id: str
    area: str
    rule: str
    answer: str
    source: str


HTTP, UPLOAD, TOKEN, TASK, STORAGE = "HTTP", "Upload", "Tokens and permissions", "Tasks", "Storages"

STRICTNESS: tuple[Strictness, ...] = (
    Strictness(
        "known-methods",
        HTTP,
        "Only GET, POST, PUT and DELETE exist.",
        "501, also for HEAD.",
        "AnyEvent.pm process_header; tried",
    ),
    Strictness(
        "no-chunked",
        HTTP,
        "A body has a Content-Length; Transfer-Encoding is not understood.",
        "501 as plain text, before any look at the token.",
        "AnyEvent.pm process_header; tried",
    ),
    Strictness(
        "no-body-without-need",
        HTTP,
        "GET and DELETE carry no body.",
        "501 as plain text.",
        "AnyEvent.pm authenticate_and_handle_request",
    ),
    Strictness(
        "small-posts",
        HTTP,
        "A body that is not an upload is at most 512 KiB, urlencoded or JSON.",
        "501; another Content-Type 506.",
        "AnyEvent.pm authenticate_and_handle_request",
    ),
    Strictness(
        "header-limits",
        HTTP,
        "A request has fewer than 64 header lines and less than 8 KiB of them.",
        "No reply; closed after the idle time.",
        "AnyEvent.pm unshift_read_header; tried",
    ),
    Strictness(
        "http-1",
        HTTP,
        "The protocol is HTTP/1.x.",
        "506 for HTTP/2 and others, 400 for an invalid request line.",
        "AnyEvent.pm push_request_header",
    ),
    Strictness(
        "tls-only",
        HTTP,
        "The port speaks TLS; plain HTTP is only told where to go.",
        "301 for GET, 308 for other methods, with the https address.",
        "AnyEvent.pm ensure_tls_connection; tried",
    ),
    Strictness(
        "trailing-slash",
        HTTP,
        "A path does not end in a slash.",
        "506.",
        "tried",
    ),
    Strictness(
        "idle-connection",
        HTTP,
        "A connection that is kept alive is used again within 5 s.",
        "Closed without a word; an error always closes.",
        "AnyEvent.pm response and new; tried",
    ),
    Strictness(
        "unknown-parameter",
        HTTP,
        "Every parameter is in the call's schema, and every required one is given.",
        "400 with `errors` naming each parameter.",
        "PVE/RESTHandler.pm, PVE/JSONSchema.pm; tried",
    ),
    Strictness(
        "error-forms",
        HTTP,
        "A client reads every form of error: JSON with `message` and `errors`, plain text, an empty body, no reply.",
        "Call errors are JSON; protocol errors are text; refusals before a call have only a reason phrase.",
        "AnyEvent.pm error and response, Formatter/Standard.pm prepare_response_data; tried",
    ),
    Strictness(
        "upload-content-length",
        UPLOAD,
        "An upload has a Content-Length.",
        "Without one the body is not looked at: 400, `content` and `filename` are missing.",
        "AnyEvent.pm authenticate_and_handle_request; tried",
    ),
    Strictness(
        "upload-content-type",
        UPLOAD,
        "The header is `multipart/form-data` with `boundary=`, in lower case; the boundary has no quotes and no space.",
        "No reply; closed after the idle time. A quoted boundary keeps its quotes and ends in 500 `upload failed`.",
        "AnyEvent.pm parse_content_type; tried",
    ),
    Strictness(
        "upload-field-order",
        UPLOAD,
        "Fields come in the order `content`, `checksum-algorithm`, `checksum`, and before the file.",
        "A bare 400 with no body: the error's text holds line ends, which a status line cannot.",
        "AnyEvent.pm file_upload_multipart and response; tried",
    ),
    Strictness(
        "upload-unknown-field",
        UPLOAD,
        "There are no other fields.",
        "A bare 400 with no body.",
        "AnyEvent.pm file_upload_multipart; tried",
    ),
    Strictness(
        "upload-file-last",
        UPLOAD,
        "The file is the last part.",
        "Fields after it become part of the file; `content` before it lacks: 400.",
        "AnyEvent.pm file_upload_multipart; tried",
    ),
    Strictness(
        "upload-file-header",
        UPLOAD,
        'The file\'s part begins, to the byte, `Content-Disposition: form-data; name="filename"; filename="NAME"`.',
        "500 `wrong field name` for another name; 500 `upload failed` for other order, case, quotes or first header.",
        "AnyEvent.pm file_upload_multipart; tried",
    ),
    Strictness(
        "upload-one-write",
        UPLOAD,
        "The fields and the file part's header, with its blank line, come in one TLS record.",
        "Otherwise the rest of the header is written into the file, and the answer is 200.",
        "AnyEvent.pm file_upload_multipart: it runs once for each record and does not wait for the blank line; tried",
    ),
    Strictness(
        "upload-no-late-bytes",
        UPLOAD,
        "Nothing follows the closing `--BOUNDARY--` in a later TLS record, not even the usual CRLF.",
        "The call is made twice: two imgcopy tasks race for one temporary file, and the loser removes the destination.",
        "AnyEvent.pm file_upload_multipart, Status.pm upload; tried",
    ),
    Strictness(
        "upload-no-stall",
        UPLOAD,
        "No more than 5 s pass without a byte from the client.",
        "The connection is dropped without a reply.",
        "AnyEvent.pm accept_connections; tried",
    ),
    Strictness(
        "upload-refused-early",
        UPLOAD,
        "The token and its privilege are looked at before the body.",
        "401 or 403, delayed, with no body; where the upload is above 520 KiB the connection is closed with no reply.",
        "AnyEvent.pm accept_connections, HTTPServer.pm auth_handler; tried",
    ),
    Strictness(
        "upload-no-tmpfilename",
        UPLOAD,
        "The query names no `tmpfilename`.",
        "No reply; closed after the idle time.",
        "AnyEvent.pm authenticate_and_handle_request",
    ),
    Strictness(
        "upload-space-twice",
        UPLOAD,
        "The node that takes the upload holds the whole file in /var/tmp first.",
        "The connection is closed with no reply; the temporary file stays, as it does after every refusal of the call.",
        "AnyEvent.pm file_upload_multipart and get_upload_filename; tried",
    ),
    Strictness(
        "file-name",
        STORAGE,
        "A file name is cut after its last slash or backslash; bytes outside `a-zA-Z0-9_.-` become `_`.",
        "The volume id is that of the normalised name.",
        "Storage.pm normalize_content_filename; tried",
    ),
    Strictness(
        "file-extension",
        STORAGE,
        "A template ends in .tar, .tar.gz, .tar.xz, .tar.zst or .tar.bz2, in any case.",
        "400, `filename`: wrong file extension. In upper case it is stored, and fails a container's creation.",
        "Storage.pm VZTMPL_EXT_RE_1, Status.pm, Create.pm; tried",
    ),
    Strictness(
        "overwrite",
        STORAGE,
        "An upload replaces a file of the same name by copying over it, which is not atomic.",
        "Success; readers may see half a file.",
        "Status.pm upload; tried",
    ),
    Strictness(
        "storage-ready",
        STORAGE,
        "The storage exists, is enabled, is available on that node, has a path and holds templates.",
        "500 with the reason as JSON.",
        "Storage.pm storage_check_enabled, Status.pm upload; tried",
    ),
    Strictness(
        "listing-privilege",
        STORAGE,
        "A listing needs Datastore.Audit or Datastore.AllocateSpace; uploading needs Datastore.AllocateTemplate alone.",
        "403 as JSON.",
        "Content.pm index",
    ),
    Strictness(
        "hidden-names",
        STORAGE,
        "A name that begins with a dot is stored and never listed.",
        "The upload succeeds.",
        "PVE/Storage/Plugin.pm get_subdir_files; tried",
    ),
    Strictness(
        "rounded-size",
        STORAGE,
        "The size of the listing is exact; that of one volume is rounded up to 512.",
        "GET content/VOLID does not prove a size; for a missing volume 500 `no format`.",
        "Content.pm info; tried",
    ),
    Strictness(
        "delete-privilege",
        STORAGE,
        "Removing a volume needs Datastore.Allocate.",
        "403 as JSON. Removing what is not there succeeds.",
        "Content.pm delete; tried",
    ),
    Strictness(
        "delete-task",
        STORAGE,
        "A removal is a task, whose id is the storage's and not the volume's; `delay` (1 to 30) waits so many seconds.",
        "null where it ended well by then, 500 with its status where it failed, else the UPID.",
        "Content.pm delete",
    ),
    Strictness(
        "configuration-privilege",
        STORAGE,
        "One storage's configuration needs Datastore.Allocate; the list of all has those with Datastore.Audit.",
        "403 as JSON.",
        "Config.pm read and index",
    ),
    Strictness(
        "download-keeps",
        STORAGE,
        "A download never replaces a file.",
        "The task fails: `refusing to override`, or with a checksum `checksum mismatch`; the same checksum is success.",
        "Tools.pm download_file_from_url; tried",
    ),
    Strictness(
        "download-privilege",
        STORAGE,
        "Needs Datastore.AllocateTemplate, and either Sys.Audit and Sys.Modify on / or Sys.AccessNetwork on the node.",
        "403 as JSON.",
        "Status.pm download_url",
    ),
    Strictness(
        "token-form",
        TOKEN,
        "`Authorization: PVEAPIToken=USER@REALM!ID=SECRET`; a space may stand for the first `=`.",
        "401 after 3 s: `No ticket` for none, `Authentication failed!` for a wrong, disabled or expired one. No body.",
        "Formatter.pm extract_auth_value, HTTPServer.pm auth_handler, AnyEvent.pm; tried",
    ),
    Strictness(
        "token-privileges",
        TOKEN,
        "A token with privilege separation has what both its own entries and its user's grant.",
        "403 as JSON.",
        "PVE/RPCEnvironment.pm permissions",
    ),
    Strictness(
        "task-outcome",
        TASK,
        "An answer of 200 says that a task began: its `exitstatus` is the outcome.",
        "`OK` and `WARNINGS: N` are success, everything else is the error's text.",
        "UPID.pm status_is_error; tried",
    ),
    Strictness(
        "task-log-limit",
        TASK,
        "A log is given 50 lines at a time; `limit=0` gives all of it.",
        "The last line, TASK OK or TASK ERROR, may lack.",
        "Tasks.pm read_task_log",
    ),
    Strictness(
        "task-list-limit",
        TASK,
        "A list of tasks has those that ended, newest first, 50 unless `limit` says; `source=all` adds those that run.",
        "`limit=0` gives none.",
        "Tasks.pm node_tasks",
    ),
    Strictness(
        "create-log",
        TASK,
        "Only the log of its vzcreate task has the template that a container was created from.",
        "`extracting archive 'PATH'`, with the path where the node has the storage.",
        "PVE/LXC/Create.pm restore_tar_archive",
    ),
    Strictness(
        "task-owner",
        TASK,
        "A user sees the tasks of its own; others need Sys.Audit on the node.",
        "Other tasks are missing from the list, and 403 each.",
        "Tasks.pm node_tasks",
    ),
    Strictness(
        "task-unknown",
        TASK,
        "A UPID is well formed and known to its node.",
        "400, `upid`: unable to parse worker upid, or no such task.",
        "Tasks.pm read_task_status; tried",
    ),
)
