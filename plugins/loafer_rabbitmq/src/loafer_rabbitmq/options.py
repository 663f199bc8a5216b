"""The options of the provider and of the publishing handler. What the user writes; the only schema there is."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import quote, unquote, urlsplit

from pydantic import BeforeValidator, ConfigDict, Field, SecretStr, StringConstraints, field_validator, model_validator

from loafer_core import Options

_URL = re.compile(r"amqps?://[^\s/?#]+(/[^\s?#]*)?")


def _empty_is_unset(value: object) -> object:
    return None if value == "" else value  # "${RABBITMQ_USER:-}" is how a file says "maybe"


_Text = Annotated[str | None, BeforeValidator(_empty_is_unset)]
_Secret = Annotated[SecretStr | None, BeforeValidator(_empty_is_unset)]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class ConnectionOptions(Options):
    """Where the broker is and who we are.

    Equal options share connections, so an instance is also the key that they are shared by.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    url: SecretStr = Field(
        description="amqp://HOST[:PORT][/VHOST], or amqps:// for TLS; 'USER:PASSWORD@' may stand before the host"
    )
    username: _Text = Field(None, description="User; unset: the url's, else 'guest'")
    password: _Secret = Field(None, description="Password, as it is; in the url it would have to be percent-encoded")
    ca_file: _Text = Field(
        None, description="PEM file of the authority that the broker's certificate comes from; unset: the system's"
    )
    cert_file: _Text = Field(None, description="PEM file of our own certificate, where the broker asks for one")
    key_file: _Text = Field(None, description="PEM file of its key; unset: it is in cert_file")
    heartbeat: int = Field(
        20, ge=2, le=3600, description="Seconds between heartbeats; a silent broker is noticed after three to four"
    )

    @field_validator("url")
    @classmethod
    def _is_a_url(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if not _URL.fullmatch(text):
            raise ValueError(
                "a broker's URL is such as amqp://rabbit.example:5672/vhost (amqps:// for TLS), without '?': what else "
                "there is to say are options of their own, such as ca_file and heartbeat"
            )
        try:
            host = urlsplit(text).hostname and urlsplit(text).port != 0
        except ValueError:
            host = None
        if not host:
            raise ValueError("the broker's URL needs a host, and a port between 1 and 65535 if it has one")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.tls and (self.ca_file or self.cert_file or self.key_file):
            raise ValueError("ca_file, cert_file and key_file are for TLS: write the url with amqps://")
        if self.key_file and not self.cert_file:
            raise ValueError("key_file needs cert_file")
        if self.password is not None and self.username is None and urlsplit(self._plain).username is None:
            raise ValueError("password needs username, here or in the url")
        return self

    @property
    def _plain(self) -> str:
        return self.url.get_secret_value()

    @property
    def tls(self) -> bool:
        return self._plain.startswith("amqps:")

    @property
    def host(self) -> str:
        """The broker's, in lower case."""
        return urlsplit(self._plain).hostname or ""

    @property
    def vhost(self) -> str:
        """The virtual host; ``/`` unless the url names one."""
        return unquote(urlsplit(self._plain).path[1:]) or "/"

    @property
    def place(self) -> str:
        """Where it is, for people: no user, no password."""
        port = urlsplit(self._plain).port or (5671 if self.tls else 5672)
        return f"{self.host}:{port}, vhost {self.vhost!r}"

    def address(self) -> str:
        """The whole URL, password included: for the client library and nobody else."""
        parts = urlsplit(self._plain)
        user = quote(self.username, safe="") if self.username else parts.username or "guest"
        own = None if self.password is None else quote(self.password.get_secret_value(), safe="")
        password = own if own is not None else parts.password or "guest"
        where = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{user}:{password}@{where}/{quote(self.vhost, safe='')}?heartbeat={self.heartbeat}"

    def connection(self) -> ConnectionOptions:
        """The part that decides which connection is used."""
        return ConnectionOptions(**{name: getattr(self, name) for name in ConnectionOptions.model_fields})


class RabbitMQOptions(ConnectionOptions):
    """The provider ``rabbitmq``."""

    queue: _Name = Field(description="Queue name")
    declare: bool = Field(
        False, description="Create the queue if it is missing: durable, a quorum queue unless arguments say otherwise"
    )
    arguments: dict[str, str | int | float | bool] = Field(
        {}, description='Arguments that it is declared with, such as { x-dead-letter-exchange = "dead" }'
    )
    dead_letter: bool | None = Field(
        None,
        description="The queue has a dead-letter exchange, to which a Reject goes; unset: true if arguments name one",
    )
    overtake: bool = Field(
        True,
        description="While failed messages wait for their next try, fetch others in their place; false keeps the order",
    )
    consumer_timeout: float = Field(
        1800.0,
        ge=0,
        description="The broker's consumer_timeout, seconds: what is held almost as long is given back; 0 = none",
    )

    @model_validator(mode="after")
    def _declares(self) -> Self:
        if self.arguments and not self.declare:
            raise ValueError("arguments are for declaring the queue: add declare = true, or leave them out")
        return self

    @property
    def rejects(self) -> bool:
        """A dead-letter exchange is known."""
        return "x-dead-letter-exchange" in self.arguments if self.dead_letter is None else self.dead_letter


class RabbitMQPublishOptions(ConnectionOptions):
    """The handler ``rabbitmq``: publishes the payload and acks once the broker has confirmed it."""

    queue: _Name | None = Field(None, description="Queue to send to, in place of exchange and routing_key")
    exchange: _Name | None = Field(None, description="Exchange to publish to")
    routing_key: Annotated[str, StringConstraints(max_length=255)] | None = Field(
        None, description="Routing key; unset: the source message's, else ''"
    )
    carry_attributes: bool = Field(True, description="Send the source message's attributes along, as headers")
    encoder: Literal["auto", "json", "text"] = Field(
        "auto", description="Body: 'json', 'text' (str or bytes as they are), 'auto' (text if it is, else JSON)"
    )

    @model_validator(mode="after")
    def _has_a_target(self) -> Self:
        if (self.queue is None) == (self.exchange is None):
            raise ValueError("say where to: either queue, or exchange (and routing_key)")
        if self.queue is not None and self.routing_key is not None:
            raise ValueError("a queue needs no routing_key: it gets what is sent to its name")
        return self
