"""A storage of a Proxmox cluster, on one node or on many, and this machine's ledger of what was published there."""

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from lxcast import durable
from lxcast.errors import ApiError, ConflictError, LxcastError, StorageError, UsageError
from lxcast.identifiers import stem_of
from lxcast.interrupt import Interrupted
from lxcast.model import ProxmoxRef, Version, Volid, parse_storage
from lxcast.naming import Naming, another, parts_of
from lxcast.progress import Progress
from lxcast.proxmox.client import PATIENCE, ApiValue, Client, File, Profile, Relay, load_profile
from lxcast.proxmox.nodes import OFFLINE, node_states
from lxcast.proxmox.preflight import WARNING, Preflight, preflight, privileges, refuse
from lxcast.proxmox.usage import Made, Use, find_made, is_shared, uses_in
from lxcast.record import Record
from lxcast.settings import BY_NAME, StorageOptions, in_groups
from lxcast.storages import node
from lxcast.storages.fan_out import Delivery, Result
from lxcast.storages.ledger import Ledger, LockedClaim, record_stem
from lxcast.storages.storage import (
    NEVER_REPLACED,
    Artifact,
    Claim,
    Diagnosis,
    Listing,
    Outcome,
    Publication,
    Storage,
    StoredTemplate,
    sort_templates,
)


@dataclass(frozen=True, slots=True)
class Target:
    """Which storage is meant, on which nodes, and how the cluster is reached."""

    profile: Profile
    refs: tuple[ProxmoxRef, ...]
    all_nodes: bool = False
    """Whether `refs` stands for every node that has the storage."""
    relay: Relay | None = None
    """What the nodes fetch templates from; None if each is sent the file."""
    options: tuple[str, ...] = ()
    """Command line options that say how the cluster is reached and where the ledger is."""

    @property
    def words(self) -> str:
        """The command line options that name the target; URLs are left out, since they may be passwords."""
        nodes = [word for ref in self.refs if len(self.refs) > 1 for word in ("--node", ref.node)]
        return shlex.join(
            ["--storage", str(self.refs[0]), *(["--all-nodes"] if self.all_nodes else nodes), *self.options]
        )


def open_proxmox(options: StorageOptions) -> "ProxmoxStorage":
    """Return the storage that `proxmox:` or proxmox:NODE/STORAGE names. Asks nothing. Raises UsageError."""
    if options.nodes and options.all_nodes:
        raise UsageError("--node and --all-nodes exclude each other")
    relay = Relay.of(options.put_url, options.get_url)
    profile = load_profile(options.profile, options.api_url, options.ca_file, options.fingerprint)
    every = "all" if options.all_nodes and options.storage == "proxmox:" else ""
    first = options.nodes[0] if options.nodes else profile.node or every
    ref = parse_storage(options.storage, first, profile.storage)
    assert isinstance(ref, ProxmoxRef)
    names = list(dict.fromkeys(options.nodes)) or [ref.node]
    refs = tuple(_ref(name, ref.storage) for name in names)
    directory = _expand(options.records) if options.records else _state(profile, ref.storage)
    given = ((BY_NAME[name].option, getattr(options, name)) for name in in_groups("access"))
    words = tuple(word for option, value in given if value for word in (option, value))
    return ProxmoxStorage(Target(profile, refs, options.all_nodes, relay, words), Ledger(directory, ref.storage))


class ProxmoxStorage(Storage):
    """One storage id on one node or several, of one cluster."""

    def __init__(self, target: Target, ledger: Ledger) -> None:
        self.id = target.refs[0].storage
        self.location = str(target.refs[0])
        self.workspace = ledger.directory
        self._target = target
        self._ledger = ledger
        self._found: Sequence[Preflight] = ()
        """Set by `prepare`."""
        self._files: frozenset[str] = frozenset()
        """The files that any node listed last."""
        self._shared = False

    def prepare(self, suffix: str, size: int, progress: Progress) -> None:
        """Run the preflight of every node, list their templates, and create the ledger's directory.

        Raises one error with every problem if no node is left to send to.
        """
        self._found = self._preflight(progress, suffix, size)
        if all(each.errors for each in self._found) and (error := refuse(self._found)):
            raise error
        for message in dict.fromkeys(row.message for each in self._found for row in each.rows if row.state == WARNING):
            progress.warn(message)
        durable.make_directory(self.workspace)
        self._ledger.sweep()
        if error := self.templates().error():  # a number that a silent node has could be given again
            raise error

    def diagnose(self, progress: Progress) -> list[Diagnosis]:
        """Return the rows of every node's preflight."""
        return [
            Diagnosis(
                each.ref.node,
                each.ref.storage,
                str(each.ref),
                [(row.subject, row.state, row.message, row.hint) for row in each.rows],
            )
            for each in self._preflight(progress, ".tar.zst", 0)
        ]

    def _preflight(self, progress: Progress, suffix: str, size: int) -> list[Preflight]:
        """Run the preflight of every node; of a shared storage only until one passes: the others see the same files."""
        found: list[Preflight] = []
        profile, pull = self._target.profile, self._target.relay is not None
        with progress.step(f"checking {profile.host}"), _CachingClient(profile) as client:
            for ref in self._refs(client):
                if not any(each.shared and not each.errors for each in found):
                    found.append(preflight(client, ref, suffix=suffix, size=size, pull=pull))
        return found

    def _refs(self, client: Client) -> Sequence[ProxmoxRef]:
        """Return the storage of each node that is meant; with --all-nodes the cluster is asked.

        Raises ApiError, and StorageError if no node has it.
        """
        if not self._target.all_nodes:
            return self._target.refs
        refs = [_ref(name, self.id) for name in sorted(node_states(client)) if _has(client, name, self.id)]
        if not refs:
            raise StorageError(
                f"no node of {client.profile.host} has a storage {self.id!r}, or the token cannot see it",
                hint="`lxcast doctor --storage proxmox:NODE/STORAGE` lists what the token lacks",
            )
        return refs

    def templates(self, *, usage: bool = False) -> Listing:
        """Return what each node lists; a shared storage once, of the first node that answers.

        After `prepare` the nodes that failed it are left out. Raises ApiError if no node answers.
        """
        warnings: list[str] = []
        found: list[StoredTemplate] = []
        asked: list[str] = []
        failures: dict[str, LxcastError] = {}
        with Client(self._target.profile) as client:
            ready = {each.ref: each.shared for each in self._found if not each.errors}
            refs = tuple(ready) or self._refs(client)
            made = find_made(client, warnings.append) if usage else []
            states = node_states(client) if usage or (len(refs) > 1 and not ready) else {}
            for ref in refs:
                asked.append(ref.node)
                try:
                    if states.get(ref.node) == OFFLINE:
                        raise ApiError(f"the node {ref.node} is offline", hint="start it, or leave it out")
                    self._shared = is_shared(client, ref) if states else ready.get(ref, False)
                    listed = self._list(client, ref, made, usage=usage)
                except ApiError as error:
                    failures[ref.node] = error
                    continue
                if self._shared:
                    asked, found, failures = [ref.node], listed, {}
                    break
                found += listed
        self._files = frozenset(each.file for each in found)
        claimed = frozenset(record_stem(each) for each in self._ledger.files())
        claimed -= {stem_of(each) for each in self._files}
        listing = Listing(
            self.id, self.location, found, tuple(asked), failures, claimed, tuple(warnings), keeps_records=False
        )
        if len(failures) == len(asked) and (failure := listing.error()):
            raise failure
        return listing

    def _list(self, client: Client, ref: ProxmoxRef, made: Sequence[Made], *, usage: bool) -> list[StoredTemplate]:
        uses = uses_in(client, ref, made, shared=self._shared) if usage else {}
        return sort_templates(
            self._stored(each, ref.node, tuple(uses.get(each.file, ())) if usage else None)
            for each in node.listing(client, f"/nodes/{ref.node}/storage/{ref.storage}")
        )

    def _stored(self, listed: node.Listed, name: str, containers: tuple[Use, ...] | None) -> StoredTemplate:
        record, problem = None, ""
        try:
            record = self._ledger.read(listed.file)
        except StorageError as error:
            problem = error.message
        if record and (record.template_id != listed.volid or record.size != listed.size):
            record = None
        title, version = (record.name, record.version) if record else parts_of(stem_of(listed.file))
        return StoredTemplate(
            listed.file,
            listed.volid,
            title,
            version,
            listed.size,
            record,
            problem,
            listed.ctime,
            name,
            self._ledger.kept(listed.file, listed.size),
            containers,
        )

    def next_version(self, naming: Naming) -> Version:
        """Return the version after the highest of the ledger and of what the nodes listed last."""
        return self._ledger.next_version(naming, self._files)

    def claim(self, naming: Naming, version: Version | None = None) -> LockedClaim:
        """Claim a name in the ledger; numbers that a node listed last are taken too."""
        return self._ledger.claim(naming, version, self._files)

    def put(self, artifact: Artifact, claim: Claim, progress: Progress) -> Publication:
        """Send an artifact to every node that passed `prepare`.

        If the name was taken meanwhile and the storage chose the number, the next one is claimed. If a temporary file
        could not be published everywhere, it stays in the ledger's directory, and the error has the command to go on.
        """
        while True:
            try:
                publication = self._send(artifact, claim, progress)
                if artifact.temporary and (failure := publication.error):
                    # The same build again would be another version: the saved file completes the rest.
                    raise failure.with_hint("") if publication.partial else failure
                break
            except ConflictError as error:
                naming = claim.naming if isinstance(claim, LockedClaim) else None
                if artifact.numbered or naming is None:
                    raise self._saved(artifact, claim, error) from error
                claim.discard()
                self.templates()
                claim = self._ledger.claim(naming, None, self._files)
                progress.say(f"{error.message.partition(' ')[0]} was taken meanwhile: publishing as {claim.stem}")
            except (LxcastError, Interrupted) as error:
                raise self._saved(artifact, claim, error) from error
            except BaseException:
                self._save(artifact, claim)
                raise
        claim.burn()  # its record has its content now
        if artifact.temporary and artifact.keep:
            return replace(publication, path=self._ledger.keep_copy(artifact, publication.file))
        return publication

    def _send(self, artifact: Artifact, claim: Claim, progress: Progress) -> Publication:
        """Send a file to every node and write its record if one has it. A failure of the only node is raised.

        An interrupt does not wait for running uploads; the record then names the nodes that had ended.
        """
        file = File(artifact.path, claim.stem + artifact.suffix, artifact.size, artifact.sha256, artifact.stamp)
        volid = str(Volid.make(self.id, file.name))
        known = self._published_before(file, volid)
        record = known or (artifact.record and replace(artifact.record, version=_version(artifact, claim)))
        proofs = [known if known and (each.shared or each.ref.node in _nodes(known)) else None for each in self._found]
        results: dict[int, Result] = {}

        def note() -> Record | None:
            return self._note(file, volid, record, artifact.sidecars, results.values())

        try:
            with progress.step(f"publishing {volid}"):
                uploads = 1 if self._target.relay else sum(not each.errors for each in self._found)
                progress.total(file.size * uploads)
                delivery = Delivery(self._target.profile, self._target.relay, self._found, file, proofs)
                for index, result in delivery.run(progress):
                    results[index] = result  # noqa: PERF403 - what ended before an error counts
        except BaseException:
            with suppress(LxcastError):
                note()
            raise
        ended = [results[index] for index in range(len(self._found))]
        for warning in (text for each in ended if each.put for text in each.put.warnings):
            progress.warn(warning)
        if len(ended) == 1 and ended[0].error:
            raise ended[0].error
        outcomes = tuple(
            Outcome(each.node, each.state, bool(each.put and each.put.verified), each.error) for each in ended
        )
        return Publication(file.name, volid, file.size, file.sha256, note(), outcomes)

    def _note(
        self,
        file: File,
        volid: str,
        record: Record | None,
        sidecars: Mapping[str, bytes],
        results: Iterable[Result],
    ) -> Record | None:
        """Return the record with the nodes that have the file; it is written if any of them has."""
        holders = [each.node for each in results if each.put]
        if record is None:
            return None
        record = _with_nodes(record, {*_nodes(record), *holders})
        record = replace(record, file=file.name, template_id=volid, storage=self.id)
        if holders:
            self._ledger.write(record, sidecars)
        return record

    def _published_before(self, file: File, volid: str) -> Record | None:
        """Return this machine's record of the id. Raises ConflictError if it is of other bytes."""
        record = self._ledger.read(file.name)
        if record is None or record.template_id != volid:
            return None
        if record.sha256 != file.sha256:
            raise ConflictError(
                f"{volid} was published with sha256 {record.sha256}, this file has {file.sha256}",
                hint=f"{NEVER_REPLACED}; the record is in {self.workspace}",
            )
        return record

    def _save(self, artifact: Artifact, claim: Claim) -> str:
        """Keep a temporary file that was not published in the ledger's directory; return its path, "" if it cannot."""
        if artifact.temporary:
            with suppress(LxcastError, FileExistsError):
                return str(self._ledger.save(artifact, claim))
        return ""

    def _saved(self, artifact: Artifact, claim: Claim, error: LxcastError | Interrupted) -> LxcastError | Interrupted:
        """Return the error with the way to go on from the file, which is kept."""
        if not artifact.temporary:
            again = "run the same command again to complete it; a node may still be copying what it received"
            return error.with_hint(again) if isinstance(error, Interrupted) else error
        saved = self._save(artifact, claim)
        if isinstance(error, ConflictError):  # the name of the saved file would be taken again
            onward = another(claim.version) + (f"; the built template was saved as {saved}" if saved else "")
        else:
            command = f"lxcast publish {shlex.quote(saved)} {self._target.words}"
            onward = f"the template was saved, publish it with: {command}" if saved else ""
        return error.with_hint(f"{error.hint}\n{onward}".strip())

    def prepare_removal(self) -> None:
        """Raise ApiError if the token may not remove templates."""
        with Client(self._target.profile) as client:
            path = f"/storage/{self.id}"
            if "Datastore.Allocate" not in privileges(client, path):
                token = client.profile.token_id
                raise ApiError(
                    f"the token {token} lacks Datastore.Allocate (to remove) on {path}",
                    hint='pveum role add LxcastPrune --privs "Datastore.Allocate Datastore.Audit Sys.Audit"\n'
                    f"pveum acl modify {path} --tokens '{token}' --roles LxcastPrune (and the same with --users for "
                    "its user)",
                )

    def sidecars(self, template: StoredTemplate) -> Mapping[str, bytes]:
        """Return the sidecars in the ledger."""
        return self._ledger.read_sidecars(template.file)

    def add_sidecars(self, template: StoredTemplate, sidecars: Mapping[str, bytes]) -> None:
        """Write sidecars in the ledger."""
        self._ledger.write_sidecars(template.file, sidecars)

    def remove(self, template: StoredTemplate) -> None:
        """Remove a template from the node that lists it, and its sidecars when no node has it any longer."""
        self._ledger.reserve(template.file)
        with Client(self._target.profile) as client:
            node.remove(client, _ref(template.node, self.id), template.file)
        record = None
        with suppress(StorageError):
            record = self._ledger.read(template.file)
        left = {each for each in _nodes(record) if each != template.node} if record and not self._shared else set()
        if record:
            self._ledger.write(_with_nodes(record, left), {})
        if not left:
            self._ledger.remove_sidecars(template.file)


class _CachingClient(Client):
    """A client that repeats no GET: for forty nodes most replies are the same."""

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._replies: dict[str, ApiValue] = {}

    def get(self, path: str, /, *, patience: float = PATIENCE, **parameters: str | int) -> ApiValue:
        """Return the data of a GET as Client does, or the reply to the same request before."""
        key = f"{path}?{sorted(parameters.items())}"
        if key not in self._replies:
            self._replies[key] = super().get(path, patience=patience, **parameters)
        return self._replies[key]


def _version(artifact: Artifact, claim: Claim) -> str:
    return str(claim.version or "") if artifact.temporary or not artifact.record else artifact.record.version


def _nodes(record: Record) -> Sequence[str]:
    """Return the nodes that the template was published on, as the record has them."""
    nodes = record.hints.get("nodes", ())
    return [str(each) for each in nodes] if isinstance(nodes, list) else []


def _with_nodes(record: Record, nodes: set[str]) -> Record:
    return replace(record, hints={**record.hints, "nodes": sorted(nodes)})


def _has(client: Client, name: str, storage: str) -> bool:
    """Return whether a node has the storage; one that does not answer counts, so that its failure is reported."""
    try:
        storages = client.get(f"/nodes/{name}/storage", patience=0).list()
        return any(each["storage"].text() == storage for each in storages)
    except ApiError:
        return True


def _ref(name: str, storage: str) -> ProxmoxRef:
    ref = parse_storage(f"proxmox:{name}/{storage}")
    assert isinstance(ref, ProxmoxRef)
    return ref


def _state(profile: Profile, storage: str) -> Path:
    """Return the directory of one storage's ledger: $XDG_STATE_HOME/lxcast/HOST/STORAGE."""
    state = os.environ.get("XDG_STATE_HOME") or _expand("~/.local/state")
    return Path(state, "lxcast", quote(profile.host, safe="[]."), storage)


def _expand(path: str) -> Path:
    return Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib raises if a home directory is unknown
