import pickle
from pathlib import Path

import pytest

from lxcast.errors import UsageError
from lxcast.proxmox.client import Secret, load_profile
from lxcast.proxmox.profile import parse_fingerprint, parse_url

SECRET = "12345678-1234-1234-1234-123456789abc"
PM = {"PM_API_URL": "pve1", "PM_API_TOKEN_ID": "ci@pve!lxcast", "PM_API_TOKEN_SECRET": SECRET}


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("pve1", "https://pve1:8006"),
        ("pve1.example:443", "https://pve1.example:443"),
        ("https://pve1:8006/api2/json", "https://pve1:8006"),
        ("https://pve1:8006/api2/json/", "https://pve1:8006"),
        ("https://gate.example/pve", "https://gate.example/pve"),
        ("pve1/api2/json", "https://pve1:8006"),
        ("[fd00::1]", "https://[fd00::1]:8006"),
        ("fd00::1", "https://[fd00::1]:8006"),
        ("http://pve1:8006", "http://pve1:8006"),
    ],
)
def test_an_address_is_read_in_every_form(text: str, url: str) -> None:
    assert parse_url(text) == url


@pytest.mark.parametrize(
    "text", ["ftp://pve1", "https://root:pw@pve1", "https://", "pve1:port", "pve 1", "https://a?b=c"]
)
def test_an_invalid_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the text is the caller's
        parse_url(text)


def test_blanks_around_what_a_variable_holds_are_no_part_of_it() -> None:
    found = load_profile(environ={name: f" {value}\n" for name, value in PM.items()} | {"PM_NODE": "pve1\n"})
    assert (found.url, found.token_id, found.node) == ("https://pve1:8006", "ci@pve!lxcast", "pve1")
    assert found.secret.reveal() == SECRET


@pytest.mark.parametrize(
    ("content", "said"), [("no certificate", "contains no certificate in PEM"), (None, "not found")]
)
def test_a_file_of_authorities_that_holds_none_is_told(content: str | None, said: str, tmp_path: Path) -> None:
    if content:
        (tmp_path / "ca.pem").write_text(content)
    with pytest.raises(UsageError, match=f"CA file {tmp_path}/ca.pem:? {said}"):
        load_profile(ca_file=str(tmp_path / "ca.pem"), environ=PM)


def test_a_profile_file_that_is_not_there_is_told_alone(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_profile("lab", environ={"XDG_CONFIG_HOME": str(tmp_path)})
    assert caught.value.message == f"{tmp_path}/lxcast/profiles.toml: No such file or directory"


def test_a_fingerprint_is_read_as_proxmox_prints_it() -> None:
    assert parse_fingerprint(":".join(["AB"] * 32)) == "ab" * 32
    with pytest.raises(ValueError, match="32 pairs"):
        parse_fingerprint("AB:CD")


@pytest.mark.parametrize(
    "environ",
    [
        PM,
        {name.replace("PM_", "TF_VAR_pm_").lower().replace("tf_var", "TF_VAR"): text for name, text in PM.items()},
        {"PROXMOX_VE_ENDPOINT": "https://pve1:8006/", "PROXMOX_VE_API_TOKEN": f"ci@pve!lxcast={SECRET}"},
    ],
)
def test_each_family_of_variables_names_a_cluster(environ: dict[str, str]) -> None:
    profile = load_profile(environ=environ)
    assert (profile.url, profile.token_id, profile.secret.reveal()) == ("https://pve1:8006", "ci@pve!lxcast", SECRET)


def test_a_secret_may_lie_in_a_file_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(SECRET + "\n")
    environ = {name: text for name, text in PM.items() if name != "PM_API_TOKEN_SECRET"}
    assert load_profile(environ=environ | {"PM_API_TOKEN_SECRET_FILE": str(file)}).secret.reveal() == SECRET


def test_everything_that_is_wrong_is_told_at_once_without_the_secret() -> None:
    environ = {
        "PM_API_URL": "ftp://x",
        "PM_API_TOKEN_ID": f"ci@pve!x={SECRET}",
        "PM_API_TOKEN_SECRET": f"{SECRET}\u00e9",
    }
    with pytest.raises(UsageError) as caught:
        load_profile(environ=environ, fingerprint="12", ca_file="none.pem")
    assert len(caught.value.message.splitlines()) == 5
    assert SECRET not in caught.value.message + caught.value.hint


def profiles(tmp_path: Path, text: str, mode: int = 0o600) -> dict[str, str]:
    file = tmp_path / "lxcast" / "profiles.toml"
    file.parent.mkdir()
    file.write_text(text)
    file.chmod(mode)
    return {**PM, "XDG_CONFIG_HOME": str(tmp_path)}


def test_a_named_profile_is_taken_whole(tmp_path: Path) -> None:
    environ = profiles(
        tmp_path,
        '[lab]\napi_url = "lab1"\nnode = "lab1"\n'
        'api_token_id = "lab@pve!lxcast"\napi_token_secret_file = "lab.token"\n',
    )
    (tmp_path / "lxcast/lab.token").write_text("lab-secret\n")
    profile = load_profile("lab", environ=environ)
    assert (profile.url, profile.secret.reveal(), profile.node) == ("https://lab1:8006", "lab-secret", "lab1")
    with pytest.raises(UsageError, match="no profile 'other'; it has: lab"):
        load_profile("other", environ=environ)


def test_a_profile_takes_nothing_from_the_environment(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'lab' has no api_token_secret"):
        load_profile("lab", environ=profiles(tmp_path, '[lab]\napi_url = "lab1"\n'))


def test_a_profile_file_with_a_secret_is_private(tmp_path: Path) -> None:
    text = f'[lab]\napi_url = "a"\napi_token_id = "a@pve!ab"\napi_token_secret = "{SECRET}"\n'
    with pytest.raises(UsageError, match="chmod 600"):
        load_profile("lab", environ=profiles(tmp_path, text, 0o644))


def test_a_damaged_profile_file_does_not_show_its_lines(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not valid TOML") as caught:
        load_profile("lab", environ=profiles(tmp_path, f"[lab]\napi_token_secret = {SECRET}\n"))
    assert SECRET not in caught.value.message


def test_a_secret_is_never_shown() -> None:
    secret = Secret(SECRET)
    assert {repr(secret), str(secret), f"{secret}", f"{secret:>3}", repr([secret])} == {"***", "[***]"}
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_an_address_that_is_said_takes_the_environments_place() -> None:
    assert load_profile(api_url="pve2", environ=PM).url == "https://pve2:8006"
    assert load_profile(api_url="pve2", environ=PM | {"PM_API_URL": "ftp://x"}).url == "https://pve2:8006"
    assert load_profile(api_url="pve2", environ={**PM, "PM_API_URL": ""}).url == "https://pve2:8006"
    with pytest.raises(UsageError, match="ftp://y") as caught:
        load_profile(api_url="ftp://y", environ=PM)
    assert len(caught.value.message.splitlines()) == 1


def test_no_address_that_is_said_gets_the_token_of_another_profile(tmp_path: Path) -> None:
    text = f'[a]\napi_url = "pve1"\napi_token_id = "ci@pve!lxcast"\napi_token_secret = "{SECRET}"\n'
    environ = profiles(tmp_path, text)
    assert load_profile("a", "https://pve1:8006/api2/json", environ=environ).url == "https://pve1:8006"
    with pytest.raises(UsageError, match="'a' is for https://pve1:8006, but --api-url is https://pve2:8006"):
        load_profile("a", "pve2", environ=environ)


@pytest.mark.parametrize(
    ("token", "problem"),
    [
        ("root@pam!x", "token name 'x' is too short: Proxmox requires at least 2 characters"),
        ("root@pam!1x", "token name '1x' is invalid: Proxmox requires a letter first"),
        ("root@pam", "invalid token id 'root@pam': expected USER@REALM!NAME"),
    ],
)
def test_an_invalid_token_id_is_explained(token: str, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_profile(environ={**PM, "PM_API_TOKEN_ID": token})
    assert caught.value.message == problem
