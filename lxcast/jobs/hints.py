"""What an image's config suggests for the container that is made of it."""

import re
from typing import Any

from lxcast.model import ImageConfig

# The value ends where a shell's word does: a history line is a command with its build arguments before it.
_SECRET = re.compile(
    r"(?i)\b(\w*(?:token|secret|passw|passphrase|credential|private_?key|api_?key)\w*=)('[^']*'|\"[^\"]*\"|\S+)"
)


def image_hints(config: ImageConfig) -> dict[str, Any]:
    """Return what the image says, by its own words; what it does not say is left out, and values of secrets are ***."""
    said = {
        "entrypoint": list(config.entrypoint),
        "cmd": list(config.cmd),
        "env": [_hidden(each) for each in config.env],
        "user": config.user,
        "working_dir": config.working_dir,
        "stop_signal": config.stop_signal,
        "volumes": list(config.volumes),
        "labels": {key: _hidden(f"{key}={value}").partition("=")[2] for key, value in config.labels.items()},
        "image_created": config.created,
        "image_history": [_hidden(each) for each in config.history],
    }
    return {key: value for key, value in said.items() if value}


def _hidden(text: str) -> str:
    name, equals, _ = text.partition("=")
    if equals and " " not in name and _SECRET.match(f"{name}=x"):
        return f"{name}=***"
    return _SECRET.sub(r"\1***", text)
