"""Requests made from the example of the SDK's own: what stays the same is copied, what changes is signed.

A template is taken from a finished request of the SDK, and used only if signing that very request gives the SDK's own
signature. So whatever decides about endpoint, headers, region or signer has had its say, and what cannot be repeated
here is noticed. The rules of the signature: Signature Version 4, AWS's reference on signing requests.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

_COPIED = frozenset({"content-type", "x-amz-target", "x-amzn-query-mode", "user-agent"})
_MADE = frozenset(
    {
        "authorization",
        "x-amz-date",
        "x-amz-security-token",
        "amz-sdk-invocation-id",
        "amz-sdk-request",
        "content-length",
    }
)
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request, "
    r"SignedHeaders=\S+, Signature=[0-9a-f]{64}"
)
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Credentials(Protocol):
    """Frozen ones, as boto gives them."""

    @property
    def access_key(self) -> str: ...
    @property
    def secret_key(self) -> str: ...
    @property
    def token(self) -> str | None: ...


class Unusual(Exception):
    """The SDK's request has something that is not repeated here; the text says what."""


class Template:
    """What all requests of one operation on one queue have in common."""

    def __init__(self, url: str, headers: Mapping[str, str], region: str, service: str) -> None:
        self.url = url
        self._headers = dict(headers)
        self._region, self._service = region, service
        self._signer = ("", "", hmac.new(b"", digestmod="sha256"))
        """Secret, day, and where a signature starts from: to set that up costs more than to sign."""
        parts = urlsplit(url)
        signed = {name.lower(): text for name, text in headers.items() if name.lower() != "user-agent"}
        signed["host"] = parts.netloc.lower().removesuffix(_DEFAULT_PORTS.get(parts.scheme, ""))
        # Sorted by name, the date and the token come one after the other: what is before and what is after is fixed.
        before, after = ([name for name in sorted(signed) if (name < "x-amz-date") is first] for first in (True, False))
        self._opening = f"POST\n{parts.path or '/'}\n\n" + "".join(f"{name}:{signed[name]}\n" for name in before)
        self._ending = "".join(f"{name}:{signed[name]}\n" for name in after)
        self._names = ";".join([*before, "x-amz-date", *after])
        self._names_with_token = ";".join([*before, "x-amz-date", "x-amz-security-token", *after])

    def signed(self, body: bytes, stamp: str, credentials: Credentials) -> dict[str, str]:
        """Give all headers of one request; ``stamp`` is the time as ``stamp_of`` writes it."""
        token, names, lines = credentials.token, self._names, f"x-amz-date:{stamp}\n"
        if token:
            names, lines = self._names_with_token, f"{lines}x-amz-security-token:{token}\n"
        digest = hashlib.sha256(body).hexdigest()
        canonical = f"{self._opening}{lines}{self._ending}\n{names}\n{digest}"
        scope = f"{stamp[:8]}/{self._region}/{self._service}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signer = self._signer_of(credentials.secret_key, stamp[:8])
        signer.update(text.encode())
        headers = self._headers.copy()
        headers["X-Amz-Date"] = stamp
        if token:
            headers["X-Amz-Security-Token"] = token
        headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, SignedHeaders={names}, "
            f"Signature={signer.hexdigest()}"
        )
        return headers

    def _signer_of(self, secret: str, day: str) -> hmac.HMAC:
        if self._signer[:2] != (secret, day):
            key = f"AWS4{secret}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._signer = secret, day, hmac.new(key, digestmod="sha256")
        return self._signer[2].copy()


@functools.lru_cache(maxsize=1)  # many requests are made within one second
def stamp_of(second: int) -> str:
    """The time in UTC as signatures have it; ``second`` since the epoch."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))


def body_of(parameters: Mapping[str, Any]) -> bytes:
    """JSON as the SDK writes it. The hot operations send nothing but text, numbers, lists and objects."""
    return json.dumps(parameters).encode()


def template_of(request: Any, parameters: Mapping[str, Any], credentials: Credentials) -> Template | None:
    """Take the template of a finished request of the SDK; None if that was signed with other credentials than these.

    Raises:
        Unusual: it has something that is not repeated here.
    """
    headers = {name.lower(): _text(value) for name, value in request.headers.items()}
    if odd := sorted(headers.keys() - _COPIED - _MADE):
        raise Unusual(f"headers {', '.join(odd)}")
    if request.method != "POST" or urlsplit(request.url).query:
        raise Unusual("a method or a query of its own")
    if (getattr(request, "context", None) or {}).get("read_timeout") is not None:
        raise Unusual("a timeout of its own")
    if request.body != body_of(parameters):
        raise Unusual("other parameters than were given")
    found = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if found is None:
        raise Unusual("another way of signing")
    if found["key"] != credentials.access_key or headers.get("x-amz-security-token") != (credentials.token or None):
        return None  # they were renewed just now
    copied = {name: _text(value) for name, value in request.headers.items() if name.lower() in _COPIED}
    template = Template(request.url, copied, found["region"], found["service"])
    ours = template.signed(request.body, headers.get("x-amz-date", ""), credentials)
    if ours["Authorization"] != headers["authorization"]:
        raise Unusual("a signature that is not to be had from its headers")
    return template


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
