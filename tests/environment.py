"""An environment that knows nothing of this machine's user: no profile, key, region, endpoint or proxy."""

from __future__ import annotations

import os
import pathlib

import pytest

NOBODY = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    # One authority, whose key is gone. The SDK reads all that there are for each client, for 40 ms, though no server of
    # the tests is to be trusted by its certificate.
    "AWS_CA_BUNDLE": str(pathlib.Path(__file__).with_name("authority.pem")),
}


def nobodys(*foreign: str) -> dict[str, str]:
    """The environment for a process of a test; nothing in it begins with ``foreign`` either."""
    return {name: value for name, value in os.environ.items() if not _is_foreign(name, foreign)} | NOBODY


def forget_the_user(monkeypatch: pytest.MonkeyPatch, *foreign: str) -> None:
    """The same for this process, until the end of the test."""
    for name in [name for name in os.environ if _is_foreign(name, foreign)]:
        monkeypatch.delenv(name)
    for name, value in NOBODY.items():
        monkeypatch.setenv(name, value)


def _is_foreign(name: str, foreign: tuple[str, ...]) -> bool:
    return name.startswith(("AWS_", *foreign)) or name.lower().endswith("_proxy")
