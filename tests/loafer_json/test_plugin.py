"""What Loafer sees of the plugin before a route uses it."""

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

import loafer_json
from loafer_core import Manager, Message

TOPIC = "arn:aws:sns:us-east-1:123456789012:orders"
README = (Path(__file__).parents[2] / "plugins/loafer_json/README.md").read_text()


def plugin():
    (entry_point,) = [e for e in entry_points(group="loafer") if e.name == "json"]
    return entry_point.load()


def specs():
    return {spec.name: spec for spec in [*plugin().loafer_translators(), *plugin().loafer_middlewares()]}


def test_entry_point_leads_to_every_component():
    assert plugin().LOAFER_API == 1
    assert {(spec.kind, name) for name, spec in specs().items()} == {
        ("translator", "json"),
        ("translator", "sns"),
        ("translator", "s3"),
        ("translator", "eventbridge"),
        ("middleware", "sns-signature"),
    }


@pytest.mark.parametrize("name", ["json", "sns", "eventbridge"])
def test_a_translator_is_made_without_any_option(name):
    spec = specs()[name]
    translator = spec.factory(TypeAdapter(spec.options).validate_python({}, extra="forbid"))
    assert translator.translate(Message("1", "[1]")).payload == [1]


def test_what_the_door_names_is_there():
    assert dir(loafer_json) == loafer_json.__all__
    assert all(getattr(loafer_json, name).__name__ == name for name in loafer_json.__all__)
    with pytest.raises(AttributeError, match="no attribute 'S4Event'"):
        loafer_json.S4Event  # noqa: B018


def python(code):
    return subprocess.check_output([sys.executable, "-c", code], text=True).strip()


def test_plugin_module_leaves_the_components_for_the_factories_to_import():
    code = "import sys, loafer_json.plugin; print(*sorted(m for m in sys.modules if m.startswith('loafer_json')))"
    assert python(code) == "loafer_json loafer_json.options loafer_json.plugin"


def test_listing_the_plugins_loads_no_cryptography():
    code = (
        "import sys\nfrom loafer_core.cli import main\n"
        "try: main(['plugins', 'list'])\nexcept SystemExit: pass\n"
        "print('loafer_json.plugin' in sys.modules, 'cryptography' in sys.modules)"
    )
    assert python(code).splitlines()[-1] == "True False"


def test_without_cryptography_the_middleware_is_a_configuration_error_with_the_pip_line_and_the_rest_works():
    code = (
        "import sys\nsys.modules['cryptography'] = None\n"
        "from loafer_core.app.check import check_all\n"
        "route = {'provider': 'memory', 'handler': print, 'translator': 'sns'}\n"
        f"signed = route | {{'middleware': {{'name': 'sns-signature', 'topics': ['{TOPIC}']}}}}\n"
        "print(*check_all({'routes': {'orders': route, 'signed': signed}}).findings)"
    )
    assert python(code).startswith(
        "routes.signed.middleware: signatures need the package cryptography: pip install 'loafer-json[signature]' ("
    )


@pytest.mark.parametrize(
    ("name", "options", "at_fault"),
    [
        ("json", {"model": 5}, ("model",)),
        ("json", {"max_bytes": 0}, ("max_bytes",)),
        ("json", {"max_byte": 5}, ("max_byte",)),
        ("sns", {"format": "xml"}, ("format",)),
        ("sns", {"raw": True}, ("raw",)),
        ("sns", {"topics": TOPIC}, ("topics",)),
        ("sns", {"control": "ack"}, ("control",)),
        ("s3", {"format": "json"}, ("format",)),
        ("eventbridge", {"other": "raw"}, ("other",)),
        ("sns-signature", {}, ("topics",)),
        ("sns-signature", {"topics": []}, ("topics",)),
        ("sns-signature", {"topics": [TOPIC], "certificates": ["/no/such.pem"]}, ("certificates", 0)),
    ],
)
def test_options_that_cannot_work_are_refused_by_name(name, options, at_fault):
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(specs()[name].options).validate_python(options, extra="forbid")
    assert [error["loc"] for error in caught.value.errors()] == [at_fault]


@pytest.mark.parametrize("name", ["json", "sns", "s3", "eventbridge", "sns-signature"])
def test_readme_has_a_configuration_to_begin_with(name):
    import tomllib

    section = re.split(r"^## ", README, flags=re.MULTILINE)[1 + list(specs()).index(name)]
    config = tomllib.loads(section.partition("```toml\n")[2].partition("```")[0])
    (route,) = config["routes"].values()
    route |= {"provider": "memory", "handler": print}
    assert Manager.from_config(config)
