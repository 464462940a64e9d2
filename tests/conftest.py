"""Tests see none of the caller's settings, credentials, locale, ignored signals and switches, nor the make around."""

import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

# Imported first: it reads LXCAST_TOOLS and LXCAST_REQUIRE_INTEGRATION, which go below.
from tests.integration.tools import REPOSITORY, REQUIRED
from tests.programs import refuse_undeclared

_NOT_THEIRS = (
    *("LXCAST_", "PM_", "PROXMOX_VE_", "TF_", "PACKER_", "PKR_VAR_", "MAKE", "MFLAGS", "PYTEST_ARGS"),
    *("SOURCE_DATE_EPOCH", "XDG_", "NETRC", "TZ", "LANG", "LC_", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *(
        "SSL_CERT_",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "GIT_",
        "TAR_OPTIONS",
        "GZIP",
        "PIGZ",
        "BZIP",
        "XZ_",
        "ZSTD_",
    ),
    "PYTHONDONTWRITEBYTECODE",  # else each start of a command compiles lxcast again
    *("PYTHONUNBUFFERED", "PYTHONWARNINGS", "PYTHONOPTIMIZE", "PYTHONDEVMODE", "PYTHONIOENCODING", "PYTHONUTF8"),
    "PYTHONDONTWRITEBYTECODE",  # each start of a command would compile lxcast again
)

for name in [*os.environ]:
    if name.startswith(_NOT_THEIRS):
        del os.environ[name]
os.environ |= {"LANG": "C.UTF-8", "TERM": "xterm"}

# What nohup, a background job or a supervisor left ignored or blocked would be so in every program that a test starts.
# SIGPIPE and SIGXFSZ are the interpreter's own to ignore; subprocess gives them back.
for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, ())
os.umask(0o022)

refuse_undeclared()

# Skips that say nothing about the machine's preparation.
_FINE_SKIPS = (
    "root may write everywhere",  # the case of another user
    "no terraform; the other of terraform, tofu runs this test",
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a skipped test where everything must run: LXCAST_REQUIRE_INTEGRATION=1."""
    report = yield
    if REQUIRED and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not reason.removeprefix("Skipped: ").startswith(_FINE_SKIPS):
            report.outcome = "failed"
            report.longrepr = f"{reason} (LXCAST_REQUIRE_INTEGRATION=1)"
    return report


# CI tries the same examples each time, so that a failure is the change's own; elsewhere each run tries new ones. How
# long an example takes, to make or to try, says nothing on a busy machine.
patient = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("new examples", patient)
hypothesis.settings.register_profile("same examples", patient, derandomize=True, database=None)
hypothesis.settings.load_profile("same examples" if os.environ.get("CI") else "new examples")


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PATH: what `pip install` makes of the console scripts, with the code of this tree."""
    folder = tmp_path_factory.mktemp("bin")
    for name, module in (("lxcast", "lxcast"), ("lxcast-data", "terraform_ext"), ("lxcast-packer", "packer_post")):
        script = folder / name
        script.write_text(f'#!/bin/sh\nPYTHONPATH="{REPOSITORY}" exec "{sys.executable}" -m {module} "$@"\n')
        script.chmod(0o755)
    return folder
