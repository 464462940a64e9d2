import hashlib
import json
from pathlib import Path

import pytest

from lxcast.engine.endpoint import endpoints
from lxcast.errors import EngineError


def context(home: Path, name: str, host: str, skip: bool = False) -> Path:
    folder = hashlib.sha256(name.encode()).hexdigest()
    meta = home / ".docker" / "contexts" / "meta" / folder / "meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"Name": name, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": skip}}}))
    return home / ".docker" / "contexts" / "tls" / folder / "docker"


def test_unsaid_the_usual_sockets_are_tried_in_order(tmp_path: Path) -> None:
    found = endpoints({"HOME": str(tmp_path), "XDG_RUNTIME_DIR": "/run/user/1000"})
    assert [endpoint.host for endpoint in found] == [
        "unix:///var/run/docker.sock",
        "unix:///run/user/1000/docker.sock",
        f"unix://{tmp_path}/.docker/run/docker.sock",
        "unix:///run/user/1000/podman/podman.sock",
        "unix:///run/podman/podman.sock",
    ]


def test_docker_host_is_the_only_one_and_goes_before_a_context(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "DOCKER_HOST": "tcp://h:2376", "DOCKER_CONTEXT": "x", "DOCKER_TLS_VERIFY": "1"}
    (one,) = endpoints(environ)
    assert (one.host, one.named_by, one.tls, one.verify) == ("tcp://h:2376", "DOCKER_HOST", True, True)
    assert one.certificates == tmp_path / ".docker"
    (one,) = endpoints({"HOME": str(tmp_path), "DOCKER_HOST": "tcp://h:2375", "DOCKER_CERT_PATH": "/c"})
    assert (one.tls, one.certificates) == (False, Path("/c"))


def test_the_current_context_is_followed_with_its_certificates(tmp_path: Path) -> None:
    certificates = context(tmp_path, "far", "tcp://far:2376")
    (tmp_path / ".docker" / "config.json").write_text('{"currentContext": "far", "auths": {}}')
    (one,) = endpoints({"HOME": str(tmp_path)})
    assert (one.host, one.named_by, one.tls) == ("tcp://far:2376", "the docker context 'far'", False)
    certificates.mkdir(parents=True)
    (one,) = endpoints({"HOME": str(tmp_path)})
    assert (one.tls, one.verify, one.certificates) == (True, True, certificates)
    context(tmp_path, "lax", "tcp://lax:2376", skip=True)
    (one,) = endpoints({"HOME": str(tmp_path), "DOCKER_CONTEXT": "lax"})
    assert (one.host, one.tls, one.verify) == ("tcp://lax:2376", True, False)
    assert len(endpoints({"HOME": str(tmp_path), "DOCKER_CONTEXT": "default"})) > 1


def test_docker_config_moves_the_files(tmp_path: Path) -> None:
    context(tmp_path, "far", "ssh://far")
    (one,) = endpoints({"HOME": "/", "DOCKER_CONFIG": str(tmp_path / ".docker"), "DOCKER_CONTEXT": "far"})
    assert one.host == "ssh://far"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('{"currentContext": "gone"}', "docker context 'gone'.*not found"),
        ("{", "cannot be read"),
        ("[]", "expected a JSON object"),
        ('{"currentContext": 3}', "expected a string, got 3"),
    ],
)
def test_a_broken_configuration_says_which_file(tmp_path: Path, config: str, said: str) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text(config)
    with pytest.raises(EngineError, match=said) as caught:
        endpoints({"HOME": str(tmp_path)})
    assert str(tmp_path) in caught.value.message


def test_a_context_without_an_engine(tmp_path: Path) -> None:
    context(tmp_path, "k8s", "x")
    meta = next((tmp_path / ".docker").rglob("meta.json"))
    meta.write_text('{"Endpoints": {}}')
    with pytest.raises(EngineError, match="no docker endpoint"):
        endpoints({"HOME": str(tmp_path), "DOCKER_CONTEXT": "k8s"})
