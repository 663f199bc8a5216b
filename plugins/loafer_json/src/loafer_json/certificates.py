"""SNS's signing certificates: from where they may be fetched, and how they are kept."""

from __future__ import annotations

import asyncio
import http.client
import re
import ssl
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from cryptography.x509 import Certificate, load_pem_x509_certificate

from loafer_core import TranslationError, Unavailable

_URL = re.compile(
    r"https://(?P<host>sns\.(?P<region>[a-z0-9-]{3,})\.amazonaws\.com(\.cn)?)"
    r"(?P<path>/SimpleNotificationService-[A-Za-z0-9]+\.pem)"
)
_MOST_BYTES = 64 * 1024
_KEPT = 16
"""Certificates. SNS has one at a time for each region."""
_THREADS = 4


def is_signing_url(url: object, region: str) -> bool:
    """Tell whether SNS keeps the signing certificates of ``region`` there. Anything else must not be asked for.

    The region matters: whoever has a bucket called sns has the host sns.s3-us-west-2.amazonaws.com.
    """
    match = _URL.fullmatch(url) if isinstance(url, str) else None
    return match is not None and match["region"] == region


class Certificates:
    """Fetches certificates by their URLs, each once, in threads of its own. Keeps the 16 that were used last.

    Args:
        timeout: seconds for one certificate, from the look-up of the host to the last byte.
    """

    def __init__(self, timeout: float = 3.0) -> None:
        self._timeout = timeout
        self._kept: OrderedDict[str, Certificate] = OrderedDict()
        self._fetches: dict[str, asyncio.Task[Certificate]] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="loafer-sns-certificate")

    async def get(self, url: str) -> Certificate:
        """Give the certificate; who asks while it is being fetched waits for that fetch.

        Args:
            url: one that ``is_signing_url``.

        Raises:
            Unavailable: the network, or the server, is out of order.
            TranslationError: the server answered, and not with a certificate.
        """
        if url in self._kept:
            self._kept.move_to_end(url)
            return self._kept[url]
        fetch = self._fetches.get(url)
        if fetch is None:
            fetch = self._fetches[url] = asyncio.create_task(self._fetch(url), name="loafer/sns-certificate")
            fetch.add_done_callback(lambda _: self._fetches.pop(url))
        return await asyncio.shield(fetch)  # the others still wait when one of them gives up

    async def close(self) -> None:
        """Start no more fetches and wait for none."""
        fetches = list(self._fetches.values())
        for fetch in fetches:
            fetch.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _fetch(self, url: str) -> Certificate:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                pem = await loop.run_in_executor(self._threads, _download, url, self._timeout)
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"SNS's signing certificate cannot be fetched: {type(error).__name__}") from error
        try:
            certificate = load_pem_x509_certificate(pem)
        except ValueError:
            certificate = None
        if certificate is None:
            raise TranslationError("what SNS has at the SigningCertURL is no certificate")
        self._kept[url] = certificate
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return certificate


def _download(url: str, timeout: float) -> bytes:
    """Ask for it, by the standard library's simplest client: it follows no redirect and knows no proxy."""
    match = _URL.fullmatch(url)
    assert match is not None
    connection = http.client.HTTPSConnection(match["host"], timeout=timeout, context=ssl.create_default_context())
    with closing(connection):
        connection.request("GET", match["path"])
        with connection.getresponse() as response:  # it holds the socket open beyond its connection
            status, pem = response.status, response.read(_MOST_BYTES + 1)
            if response.length and len(pem) <= _MOST_BYTES:
                raise ConnectionError(f"{response.length} bytes are missing")  # http.client says nothing
    if status == 429 or status >= 500:
        raise Unavailable(f"SNS's signing certificate cannot be fetched: the answer is {status}")
    if status != 200:
        raise TranslationError(f"SNS has no certificate at the SigningCertURL: the answer is {status}")
    if len(pem) > _MOST_BYTES:
        raise TranslationError(f"what SNS has at the SigningCertURL is no certificate: more than {_MOST_BYTES} bytes")
    return pem
