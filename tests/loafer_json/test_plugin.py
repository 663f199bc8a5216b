"""What Loafer sees of the plugin before a route uses it."""

import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from pydantic import TypeAdapter, ValidationError

from loafer_core import Message


def test_entry_point_leads_to_the_json_translator():
    (entry_point,) = [e for e in entry_points(group="loafer") if e.name == "json"]
    plugin = entry_point.load()
    assert plugin.LOAFER_API == 1
    (spec,) = plugin.loafer_translators()
    assert (spec.kind, spec.name) == ("translator", "json")
    translator = spec.factory(TypeAdapter(spec.options).validate_python({}, extra="forbid"))
    assert translator.translate(Message("1", "[1]")).payload == [1]


def test_plugin_module_leaves_the_translator_for_the_factory_to_import():
    code = "import sys, loafer_json.plugin; print('loafer_json.translator' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


@pytest.mark.parametrize(
    ("options", "at_fault"),
    [
        ({"model": "shop.Order"}, "model"),
        ({"max_bytes": 0}, "max_bytes"),
        ({"max_byte": 5}, "max_byte"),
    ],
)
def test_options_that_cannot_work_are_refused_by_name(options, at_fault):
    from loafer_json.options import JSONOptions

    with pytest.raises(ValidationError) as caught:
        TypeAdapter(JSONOptions).validate_python(options, extra="forbid")
    assert [error["loc"] for error in caught.value.errors()] == [(at_fault,)]
