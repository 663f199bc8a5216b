"""Messages whose properties the client library cannot decode arrive without them, instead of ending the connection.

pamqp raises for a timestamp that no calendar holds (nanoseconds, say) and for text that is not UTF-8; both are only
bytes to the broker. aiormq then drops the connection, with everything that all routes on it have in hands, and the
broker delivers the same message again: one message would stop them for ever.
"""

from __future__ import annotations

import struct

from pamqp.commands import Basic
from pamqp.header import ContentHeader

UNREADABLE = "loafer-unreadable-properties"
"""The ``message_type`` of such a message: nothing else of its properties is set."""

_decode = ContentHeader.unmarshal


def _decode_what_can_be(self: ContentHeader, data: bytes) -> None:
    try:
        _decode(self, data)
    except (ValueError, OverflowError, struct.error):
        if len(data) < 12:  # without the body's size nothing after it can be understood
            raise
        self.properties = Basic.Properties(message_type=UNREADABLE)


def install() -> None:
    """Take the place of pamqp's own function, once, for the whole process."""
    ContentHeader.unmarshal = _decode_what_can_be  # type: ignore[method-assign]
