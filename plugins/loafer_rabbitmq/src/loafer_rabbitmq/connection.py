"""The connections that all routes of one broker, virtual host and user share: one to consume, one to publish.

They are two because a broker that runs out of memory or disk stops reading from those who publish: over a connection
of its own an ack gets through all the same. https://www.rabbitmq.com/docs/alarms
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import logging
import os
import ssl
from types import TracebackType
from typing import Literal, Self

import aio_pika
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

from loafer_core import Context, SourceConfigError, Unavailable
from loafer_rabbitmq import unreadable
from loafer_rabbitmq.errors import classify
from loafer_rabbitmq.options import ConnectionOptions

logger = logging.getLogger("loafer.rabbitmq")

ANSWER_TIMEOUT = 10.0
"""Seconds to connect and open a channel, and for every answer of the broker that is waited for."""
TROUBLE = (*CONNECTION_EXCEPTIONS, TimeoutError, ValueError)
"""What the library raises when something is wrong with connection or channel."""

Purpose = Literal["consume", "publish"]


async def shared(context: Context, connection: ConnectionOptions, purpose: Purpose) -> Link:
    """Give the manager's link for this connection; it is named after the route that asks first."""
    open = functools.partial(Link, connection, f"{context.client_id} ({purpose})")
    return await context.shared(("loafer-rabbitmq", purpose, connection), open)


class Link:
    """One connection, made when a channel is asked for, and made again when it was lost."""

    def __init__(self, options: ConnectionOptions, name: str) -> None:
        self._options, self._name = options, name
        self._connection: aio_pika.Connection | None = None
        self._connecting = asyncio.Lock()
        self._proven = False
        self.place = options.place
        """Where the broker is, for people."""
        self.version = ""
        """What the broker says that it is, such as ``RabbitMQ 3.13.7``."""

    def __repr__(self) -> str:
        return f"<Link to {self.place}>"

    async def __aenter__(self) -> Self:
        _quiet_loggers()
        unreadable.install()
        if not self._options.tls and not _is_loopback(self._options.host):
            logger.warning("RabbitMQ is spoken to without TLS: %s", self.place)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._disconnect()

    async def channel(self, *, confirms: bool) -> AbstractChannel:
        """Open a channel, after connecting if need be.

        Raises:
            CredentialError: user or password was refused.
            SourceConfigError: no such virtual host, a certificate that is not to be trusted, a file that is missing.
            Unavailable: nobody answered properly.
        """
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                connection = await self._connected()
                channel = connection.channel(publisher_confirms=confirms, on_return_raises=confirms)
                await channel.initialize()
        except TimeoutError:
            raise Unavailable(f"{self.place}: no answer within {ANSWER_TIMEOUT:g} s") from None
        except TROUBLE as error:
            raise classify(error, self.place, proven=self._proven) from None  # its chain holds the whole URL
        self._proven = True
        return channel

    async def _connected(self) -> aio_pika.Connection:
        async with self._connecting:
            if self._connection is not None and _is_alive(self._connection):
                return self._connection
            await self._disconnect()
            self._connection = connection = aio_pika.Connection(
                self._options.address(),  # type: ignore[arg-type] # it takes a str as well as a URL
                ssl_context=self._tls_context(),
                client_properties={"connection_name": self._name},
            )
            await connection.connect()
            said = connection.transport.connection.server_properties if connection.transport else {}
            self.version = " ".join(str(said[key]) for key in ("product", "version") if key in said)
            logger.info("connected to %s (%s) as %r", self.place, self.version, self._name)
            return connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _tls_context(self) -> ssl.SSLContext | None:
        """Verify certificate and host name, always."""
        options = self._options
        if not options.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=options.ca_file)
            if options.cert_file is not None:
                context.load_cert_chain(options.cert_file, options.key_file)
        except OSError as error:
            files = ", ".join(name for name in ("ca_file", "cert_file", "key_file") if getattr(options, name))
            raise SourceConfigError(f"{self.place}: {files}: {error.strerror or error}") from None
        return context


def _is_alive(connection: aio_pika.Connection) -> bool:
    """Its own ``connected`` is told of a loss only some turns of the loop later."""
    transport = connection.transport
    return connection.connected.is_set() and transport is not None and not transport.connection.is_closed


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _quiet_loggers() -> None:
    """At DEBUG they write bodies, and what they say of trouble we say too, once; LOAFER_DEBUG_AMQP=1 lets them."""
    if os.environ.get("LOAFER_DEBUG_AMQP") == "1":
        return
    for name in ("aiormq", "aio_pika"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
