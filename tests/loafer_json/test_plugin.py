"""What Loafer sees of the plugin before a route uses it."""

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

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
        ({"model": 5}, "model"),
        ({"max_bytes": 0}, "max_bytes"),
        ({"max_byte": 5}, "max_byte"),
    ],
)
def test_options_that_cannot_work_are_refused_by_name(options, at_fault):
    from loafer_json.options import JSONOptions

    with pytest.raises(ValidationError) as caught:
        TypeAdapter(JSONOptions).validate_python(options, extra="forbid")
    assert [error["loc"] for error in caught.value.errors()] == [(at_fault,)]


def test_readme_tells_every_option_with_its_default():
    from loafer_json.options import JSONOptions

    readme = (Path(__file__).parents[2] / "plugins/loafer_json/README.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", readme, re.MULTILINE))
    fields = JSONOptions.model_fields
    assert rows == {name: "none" if field.default is None else str(field.default) for name, field in fields.items()}
