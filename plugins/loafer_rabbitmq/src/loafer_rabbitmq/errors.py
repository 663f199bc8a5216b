"""What went wrong, in Loafer's words: AMQP's reply codes and the library's exceptions onto the provider errors.

What the broker writes beside a code names queues, users and virtual hosts; bodies and passwords are not in it.
"""

from __future__ import annotations

import ssl

from aiormq import exceptions as amqp

from loafer_core import CredentialError, ProviderError, SourceConfigError, Unavailable

_HINTS: dict[type[BaseException], str] = {
    amqp.ChannelNotFoundEntity: "create it, correct the name or the url's virtual host, or set declare = true",
    amqp.ChannelAccessRefused: "give the user the permission, or use another user",
    amqp.ChannelPreconditionFailed: "it exists with other arguments: write the same, or set declare = false",
    amqp.ChannelLockedResource: "it belongs to another connection alone",
}
_PASSING = ("is down", "stopped by supervisor", "in exclusive use", "timed out")
"""Words that the broker uses under a code of ours for trouble that passes."""


class Unroutable(SourceConfigError):
    """The exchange knows no queue for the routing key."""


def classify(error: BaseException, place: str, *, proven: bool = True) -> ProviderError:
    """Give the provider error for what the library raised.

    Args:
        place: where it was, for people.
        proven: this connection has worked before.
    """
    if isinstance(error, ProviderError):
        return error
    if isinstance(error, amqp.PublishError):
        return Unroutable(f"{place}: no queue is bound there for this routing key, the broker gave the message back")
    if isinstance(error, amqp.DeliveryError):
        return Unavailable(f"{place}: the broker did not take the message; is a queue full?")
    if isinstance(error, (amqp.ProbableAuthenticationError, amqp.AuthenticationError)):
        return CredentialError(f"{place}: user or password was refused; correct url, username or password")
    if isinstance(error, amqp.InvalidFrameError) and not proven:
        # The library drops the broker's own words about a virtual host.
        text = "the virtual host was refused: there is none of this name, or it is not for this user"
        return SourceConfigError(f"{place}: {text}; correct the end of the url")
    if isinstance(error.__cause__, ssl.SSLError):
        return SourceConfigError(f"{place}: {_tls(error.__cause__)}")
    for kind, hint in _HINTS.items():
        if isinstance(error, kind) and not any(word in str(error) for word in _PASSING):
            return SourceConfigError(f"{place}: {words(error)}; {hint}")
    if isinstance(error, amqp.ConnectionNotAllowed):
        return SourceConfigError(f"{place}: {words(error)}")
    return Unavailable(f"{place}: {words(error)}")


def words(error: BaseException | None) -> str:
    """One printable line: a stranger wrote it and it goes into a log."""
    if error is None or not error.args:
        return "the connection was closed" if error is None else type(error).__name__
    text = " ".join(str(part) for part in error.args if part is not None)
    return "".join(char if char.isprintable() else " " for char in text[:300])


def _tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the broker's certificate was not accepted ({error.verify_message}); a private authority's certificate "
            "goes into ca_file"
        )
    return f"TLS failed ({error.reason}); does this port speak TLS? Without it the url begins with amqp://"
