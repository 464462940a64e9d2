import re
import shlex
from dataclasses import replace
from pathlib import Path

import hcl2

from lxcast.containers.render import next_step, parameters
from lxcast.containers.spec import spec_of
from lxcast.hints import HINTS
from lxcast.record import Origin, Record

RECORD = Record(
    name="debian_12.x",
    version="v4",
    file="debian_12.x-v4.tar.zst",
    template_id="pve-nfs:vztmpl/debian_12.x-v4.tar.zst",
    storage="pve-nfs",
    size=1,
    unpacked_size=1,
    members=1,
    sha256="0" * 64,
    diff_id="sha256:" + "0" * 64,
    format="zst",
    compressor="zstd",
    ostype="debian",
    arch="amd64",
    created="2026-11-21T10:00:00Z",
    lxcast="0",
    source=Origin("tar", "x.tar"),
    hints={"disk_gb": 3, "nesting": True},
)
PROGRAM = {
    "features": ["nesting=1", "fuse=1"],
    "hostname": "app.example",
    "memory": 512,
    "swap": 0,
    "cores": 2,
    "cpulimit": 1.5,
    "cpuunits": 50,
    "cpuset": "0-3",
    "pids": 100,
    "rlimits": {"RLIMIT_NOFILE": [1024, 4096]},
    "mounts": [
        {"destination": "/data", "type": "bind", "source": "/srv/my data", "options": ["rbind", "ro"]},
        {"destination": "/out", "source": "/srv/out", "options": ["bind"]},
        {"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": []},
    ],
    "init": "app",
    "cmode": "console",
    "host_managed": True,
    "entrypoint": ["/bin/app"],
    "cmd": ["two words", "", "${x}"],
    "env": ["A=b c", "PATH=/bin"],
    "uid": 1000,
    "gid": 100,
    "groups": [5, 6],
    "working_dir": "/srv",
    "stop_signal": "SIGINT",
}
PATH = Path("/mnt/pve/pve-nfs/template/cache/debian_12.x-v4.tar.zst")


def command(text: str) -> dict[str, str]:
    """Return the options of the pct line by name; the template is "create"."""
    line = text[text.index("pct create") :].partition("\n\n")[0]
    words = shlex.split(line.replace("\\\n", " "))
    assert words[:3] == ["pct", "create", "VMID"]
    return {"create": words[3]} | dict(zip(words[4::2], words[5::2], strict=True))


def resources(text: str) -> str:
    return text.partition("or with Terraform:\n")[2]


def test_the_command_has_what_the_template_needs() -> None:
    assert command(next_step(RECORD, PATH)) == {
        "create": "pve-nfs:vztmpl/debian_12.x-v4.tar.zst",
        "--hostname": "debian-12.x",
        "--unprivileged": "1",
        "--arch": "amd64",
        "--features": "nesting=1",
        "--rootfs": "local-lvm:3",
        "--net0": "name=eth0,bridge=vmbr0,ip=dhcp",
        "--ssh-public-keys": "~/.ssh/authorized_keys",
    }


def test_an_unmanaged_container_gets_no_keys_of_proxmox() -> None:
    options = command(next_step(replace(RECORD, ostype="unmanaged", arch="", hints={}), PATH))
    assert options["--ostype"] == "unmanaged"
    assert {"--ssh-public-keys", "--features", "--arch"}.isdisjoint(options)


def test_the_hcl_parses_and_reads_the_template_by_its_version() -> None:
    read = hcl2.loads(resources(next_step(RECORD, PATH)) + "\n")
    assert "data.external.debian_12-x.result.template_id" in str(read)
    assert {"'\"v4\"'", "'\"pve-nfs=/mnt/pve/pve-nfs\"'"} <= set(str(read).replace(",", " ").replace("}", " ").split())


def test_a_name_without_a_version_is_written_out() -> None:
    text = resources(next_step(replace(RECORD, name="9x", version=""), PATH))
    assert 'template_file_id = "pve-nfs:vztmpl/debian_12.x-v4.tar.zst"' in text
    assert 'resource "proxmox_virtual_environment_container" "_9x"' in text
    assert "data.external" not in str(hcl2.loads(text + "\n"))


def test_a_folder_that_no_node_mounts_is_copied_first() -> None:
    local = Path("/srv/storage/template/cache/x.tar.zst")
    assert "scp /srv/storage/template/cache/x.tar.zst root@NODE" in next_step(RECORD, local)
    assert "scp" not in next_step(RECORD, PATH)
    plain = next_step(replace(RECORD, template_id="", storage=""), Path("/srv/out/x.tar.zst"))
    assert command(plain)["create"] == "local:vztmpl/debian_12.x-v4.tar.zst"
    assert "scp /srv/out/x.tar.zst" in plain
    assert "Terraform" not in plain


def test_a_folder_of_any_name_is_written_safely() -> None:
    text = next_step(RECORD, Path('/srv/a "b" ${c}/template/cache/x.tar.zst'))
    assert "scp '/srv/a \"b\" ${c}/template/cache/x.tar.zst' root@NODE" in text
    assert r'storage = "pve-nfs=/srv/a \"b\" $${c}"' in text


def test_no_value_makes_a_line_of_its_own_in_the_containers_configuration() -> None:
    hints = {**PROGRAM, "stop_signal": "TERM\nlxc.hook.pre-start: /x", "env": ["A=\nlxc.hook.pre-start: /x"]}
    lines = next_step(replace(RECORD, hints=hints), PATH).splitlines()
    assert "  lxc.signal.halt: TERM\\nlxc.hook.pre-start: /x" in lines
    assert [line for line in lines if line.lstrip().startswith("lxc.hook")] == []


def test_what_a_bundle_says_becomes_options_of_the_container() -> None:
    text = next_step(replace(RECORD, ostype="", hints=PROGRAM), PATH)
    assert command(text) == {
        "create": "pve-nfs:vztmpl/debian_12.x-v4.tar.zst",
        "--hostname": "app.example",
        "--unprivileged": "1",
        "--ostype": "unmanaged",
        "--arch": "amd64",
        "--features": "nesting=1,fuse=1",
        "--cores": "2",
        "--cpulimit": "1.5",
        "--cpuunits": "50",
        "--memory": "512",
        "--swap": "0",
        "--cmode": "console",
        "--rootfs": "local-lvm:4",
        "--mp0": "/srv/my data,mp=/data,ro=1",
        "--mp1": "/srv/out,mp=/out",
        "--net0": "name=eth0,bridge=vmbr0,ip=dhcp,host-managed=1",
        "--entrypoint": '/bin/app "two words" "" ${x}',
    }
    raw = text.partition("append to /etc/pve/lxc/VMID.conf:\n")[2]
    assert raw.split("\n") == [
        "  lxc.init.uid: 1000",
        "  lxc.init.gid: 100",
        "  lxc.init.groups: 5,6",
        "  lxc.init.cwd: /srv",
        "  lxc.signal.halt: SIGINT",
        "  lxc.environment: A=b c",
        "  lxc.environment: PATH=/bin",
        "  lxc.cgroup2.cpuset.cpus: 0-3",
        "  lxc.cgroup2.pids.max: 100",
        "  lxc.prlimit.nofile: 1024:4096",
    ]


def test_a_written_init_needs_no_entrypoint() -> None:
    hints = {**PROGRAM, "init": "auto", "host_managed": False}
    text = next_step(replace(RECORD, hints=hints), PATH)
    assert {"--entrypoint", "--ssh-public-keys"}.isdisjoint(command(text))
    assert command(text)["--cmode"] == "console"
    assert command(text)["--net0"] == "name=eth0,bridge=vmbr0,ip=dhcp"
    assert "lxc.init" not in text
    assert "lxc.environment" not in text
    assert "environment_variables" not in text


def test_the_hcl_says_the_same() -> None:
    text = resources(next_step(replace(RECORD, hints=PROGRAM), PATH)).partition("\n\nbefore its")[0]
    (blocks,) = hcl2.loads(text + "\n")["resource"]
    (found,) = blocks.values()
    (container,) = found.values()

    def value(*path: str) -> object:
        at: object = container
        for part in path:
            at = at[0] if isinstance(at, list) else at
            assert isinstance(at, dict)
            at = at[part]
        return at

    assert [value("cpu", key) for key in ("cores", "limit", "units")] == [2, 1.5, 50]
    assert [value("memory", key) for key in ("dedicated", "swap")] == [512, 0]
    assert "$${x}" in str(value("initialization", "entrypoint"))
    assert value("network_interface", "host_managed") is True
    assert len(container["mount_point"]) == 2
    assert "user_account" not in text


def test_of_an_oci_archive_proxmox_reads_the_process_itself() -> None:
    text = next_step(replace(RECORD, format="oci-archive", hints=PROGRAM), PATH)
    assert "--entrypoint" not in text
    assert "lxc.init" not in text
    assert "lxc.environment" not in text
    assert "lxc.cgroup2.pids.max" in text


def test_every_hint_is_declared_by_the_module_and_named_in_it() -> None:
    """The list of hints is one: the HCL module declares exactly these, with the same types."""
    module = Path(__file__).resolve().parents[3] / "hcl/terraform/lxc-container"
    variables = (module / "variables.tf").read_text()
    block = variables[variables.index("hints = optional(object({") :].partition("}), {})\n  })")[0]
    declared = dict(re.findall(r"^      (\w+) +?= optional\((bool|number|string|list)", block, re.MULTILINE))
    types: dict[tuple[type, ...], str] = {(bool,): "bool", (int,): "number", (int, float): "number"}
    types |= {(str,): "string", (list,): "list"}
    assert declared == {hint: types[kinds] for hint, (kinds, _, _) in HINTS.items()}
    code = "".join((module / name).read_text() for name in ("hints.tf", "main.tf"))
    assert [hint for hint in HINTS if f"local.hints.{hint}" not in code] == []
    attributes = [attribute for _, _, attribute in HINTS.values() if attribute]
    assert [each for each in attributes if f"{each.rpartition('.')[2]}" not in code] == []


def test_every_parameter_of_the_list_is_one_of_the_rendering() -> None:
    given = parameters(spec_of(replace(RECORD, hints=PROGRAM)))
    named = {parameter for _, parameter, _ in HINTS.values() if parameter}
    assert named - {"env"} <= given.keys()
