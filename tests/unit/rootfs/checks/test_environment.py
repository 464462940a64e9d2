import pytest

from lxcast.rootfs.checks import CHECKS, Finding, Subject, reads, run_checks
from lxcast.rootfs.checks.environment import ENVIRONMENT
from lxcast.rootfs.survey import Survey
from lxcast.tar.member import regular, symlink

SECRET = "zQ9vWm4Kp7Lr2Xt8Yb5N"


def found(path: str, text: str) -> list[Finding]:
    survey = Survey(reads=reads(ENVIRONMENT))
    survey.see(regular(path.encode(), text.encode()))
    findings = run_checks(Subject(survey), "golden", checks=ENVIRONMENT)
    for finding in findings:
        assert SECRET not in str(finding.as_dict())
        assert finding.hint
        assert finding.path == path.encode()
    return findings


@pytest.mark.parametrize(
    ("id", "path", "text", "line"),
    [
        ("apt-proxy", "etc/apt/apt.conf", 'Acquire::http::Proxy "http://cache.example:3142";\n', 1),
        (
            "apt-proxy",
            "etc/apt/apt.conf.d/01proxy",
            f'// x\nAcquire::https::proxy "http://me:{SECRET}@p.example:1";',
            2,
        ),
        ("apt-proxy", "etc/apt/apt.conf.d/01proxy", 'Acquire {\n http {\n  Proxy "http://p.example:8/";\n };\n};', 3),
        ("apt-proxy", "etc/apt/apt.conf.d/x", 'Acquire::http::Proxy::deb.example "http://p.example";', 1),
        ("apt-proxy", "etc/apt/apt.conf.d/x", "Acquire::http::Proxy http://p.example;", 1),
        ("apt-proxy", "etc/apt/apt.conf.d/x", '/* a\nb */ Acquire::http::Proxy-Auto-Detect "/usr/bin/detect";', 2),
        ("proxy-variables", "etc/environment", f'PATH=/bin\nhttp_proxy="http://me:{SECRET}@p.example:3128"\n', 2),
        ("proxy-variables", "etc/environment", "HTTPS_PROXY=p.example:3128\n", 1),
        ("proxy-variables", "etc/profile.d/proxy.sh", "export all_proxy=socks5://p.example:1080\n", 1),
        ("proxy-variables", "etc/profile", "# x\n[ -z x ] || export ftp_proxy='http://p.example'\n", 2),
        ("proxy-variables", "etc/bash.bashrc", "declare -x http_proxy=http://p.example\n", 1),
        (
            "proxy-variables",
            "etc/systemd/system.conf.d/p.conf",
            '[Manager]\nDefaultEnvironment="HTTP_PROXY=http://p"\n',
            2,
        ),
        ("package-proxy", "etc/yum.conf", "[main]\nproxy=http://p.example:3128\n", 2),
        ("package-proxy", "etc/dnf/dnf.conf", "[main]\n  proxy = p.example:3128\n", 2),
        ("tool-proxy", "etc/pip.conf", "[global]\nproxy = http://p.example:3128\n", 2),
        ("tool-proxy", "root/.npmrc", "https-proxy=http://p.example:3128\n", 1),
        ("tool-proxy", "etc/wgetrc", "https_proxy = http://p.example:3128/\n", 1),
        ("tool-proxy", "root/.curlrc", '# x\nproxy = "http://p.example:3128"\n', 2),
        ("tool-proxy", "root/.curlrc", "-x http://p.example:3128\n", 1),
        ("tool-proxy", "etc/gitconfig", "[http]\n\tproxy = http://p.example:3128\n", 2),
        ("index-credentials", "etc/pip.conf", f"[global]\nindex-url = https://me:{SECRET}@pip.example/simple\n", 2),
        ("index-credentials", "root/.npmrc", f"registry=https://me:{SECRET}@npm.example/\n", 1),
        (
            "index-credentials",
            "etc/apt/sources.list.d/x.sources",
            f"Types: deb\nURIs: https://me:{SECRET}@apt.example/\n",
            2,
        ),
        ("index-credentials", "etc/yum.repos.d/x.repo", f"[x]\nbaseurl=https://{SECRET}{SECRET}@rpm.example/\n", 2),
        ("baked-resolv-conf", "etc/resolv.conf", "# x\nnameserver 192.0.2.53\n", 2),
        ("baked-resolv-conf", "etc/resolv.conf", "nameserver 127.0.0.11\n", 1),
        ("baked-resolv-conf", "etc/resolv.conf", "nameserver 127.0.0.53\nsearch corp.example\n", 2),
        ("baked-hosts", "etc/hosts", "127.0.0.1 localhost\n192.0.2.7 build-cache cache\n", 2),
        ("baked-hosts", "etc/hosts", "172.17.0.2\t4f1c2d9a\n", 1),
        ("baked-hosts", "etc/hosts", "2001:db8::7 mirror\n", 1),
    ],
)
def test_settings_of_the_build_network_are_found(id: str, path: str, text: str, line: int) -> None:
    (finding,) = found(path, text)
    assert finding.check == id
    assert finding.message.startswith(f"line {line}: ")


def test_every_row_has_a_case() -> None:
    mark = test_settings_of_the_build_network_are_found.pytestmark[0]  # type: ignore[attr-defined]  # pytest's
    assert {case[0] for case in mark.args[1]} == {check.id for check in ENVIRONMENT}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("etc/apt/apt.conf.d/docker-clean", 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };\n'),
        (
            "etc/apt/apt.conf.d/x",
            '// Acquire::http::Proxy "http://p.example";\n# Acquire::http::Proxy "http://p.example";\n',
        ),
        ("etc/apt/apt.conf.d/x", '/* Acquire::http::Proxy "http://p.example";\n*/\n'),
        (
            "etc/apt/apt.conf.d/x",
            'Acquire::http::Proxy "DIRECT";\nAcquire::https::Proxy "false";\nAcquire::http::Proxy "";\n',
        ),
        ("etc/environment", 'PATH="/usr/bin:/bin"\n#http_proxy=http://p.example\nno_proxy=localhost\n'),
        ("etc/profile.d/x.sh", 'if [ -n "$http_proxy" ]; then export HTTP_PROXY=$http_proxy; fi\nhttp_proxy=\n'),
        ("etc/sysconfig/proxy", 'PROXY_ENABLED="no"\nHTTP_PROXY=""\nNO_PROXY="localhost, 127.0.0.1"\n'),
        ("etc/yum.conf", "[main]\n#proxy=http://p.example\nproxy=_none_\nproxy_username=\n"),
        ("etc/wgetrc", "#https_proxy = http://proxy.example:18023/\n#use_proxy = on\nuse_proxy = off\n"),
        ("etc/pip.conf", "[global]\nindex-url = https://pip.example/simple\nbreak-system-packages = true\n"),
        ("root/.npmrc", "registry=https://npm.example/\nnoproxy=localhost\n; proxy=http://p.example\nproxy=null\n"),
        ("etc/pip.conf", "index-url = https://${USER}:${PASSWORD}@pip.example/simple\n"),
        (
            "etc/apt/sources.list",
            f"# deb https://me:{SECRET}@apt.example/ stable main\ndeb https://apt.example/ x main\n",
        ),
        ("etc/resolv.conf", ""),
        ("etc/resolv.conf", "# nameserver 192.0.2.53\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n"),
        (
            "etc/hosts",
            "\n".join(
                [
                    "127.0.0.1\tlocalhost",
                    "127.0.1.1\ttemplate",
                    "::1\tlocalhost ip6-localhost ip6-loopback",
                    "fe00::0 ip6-localnet",
                    "ff00::0 ip6-mcastprefix",
                    "ff02::1 ip6-allnodes",
                    "# 192.0.2.7 gone",
                ]
            ),
        ),
    ],
)
def test_what_is_neutral_is_passed_over(path: str, text: str) -> None:
    assert found(path, text) == []


def test_a_proxy_is_reported_without_user_and_password() -> None:
    (finding,) = found("etc/environment", f"http_proxy=http://me:{SECRET}@p.example:3128/x\n")
    assert finding.message == "line 1: sets the proxy p.example:3128"


def test_a_proxy_with_a_password_is_found_by_two_checks() -> None:
    findings = found("etc/dnf/dnf.conf", f"[main]\nproxy = http://me:{SECRET}@p.example:3128\n")
    assert {finding.check for finding in findings} == {"package-proxy", "index-credentials"}


def test_resolv_conf_as_a_link_is_accepted() -> None:
    survey = Survey(reads=reads(ENVIRONMENT))
    survey.see(regular(b"usr/lib/systemd/resolv.conf", b"nameserver 192.0.2.53\n"))
    survey.see(symlink(b"etc/resolv.conf", b"/usr/lib/systemd/resolv.conf"))
    assert run_checks(Subject(survey), "golden", checks=ENVIRONMENT) == []


def test_the_rows_are_part_of_the_table() -> None:
    assert set(ENVIRONMENT) <= set(CHECKS)
