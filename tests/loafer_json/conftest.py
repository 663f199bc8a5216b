"""One way to ask the translator, as the core does: open it for a route, then translate."""

from types import SimpleNamespace

import pytest

from loafer_core import Message
from loafer_json.options import JSONOptions
from loafer_json.translator import JSONTranslator


@pytest.fixture
def opened():
    """Give a translator that is open for a handler with this annotation (None: it has none)."""

    async def open_for(payload_type=None, **options):
        translator = JSONTranslator(JSONOptions(**options))
        await translator.open(SimpleNamespace(route="orders", payload_type=payload_type))
        return translator

    return open_for


@pytest.fixture
def decoded(opened):
    """Give the payload that a body becomes."""

    async def decode(body, payload_type=None, **options):
        translator = await opened(payload_type, **options)
        return translator.translate(Message("m-1", body)).payload

    return decode
