"""The configuration: from file, mapping, overrides and environment to settings, with everything wrong told at once."""

import os
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loafer_core import Breaker, ConfigError, Finding, Retry, Route
from loafer_core.config.settings import Config, OverrideError, Settings, check_route, read
from loafer_core.config.validation import validate

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file into the temporary directory."""

    def write(text: str, name: str = "loafer.toml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        path.chmod(0o644)
        return path

    return write


def mapping(loafer: object = None, **route: object) -> dict[str, Any]:
    """Make a configuration that is right but for what is given: one route, ``orders``."""
    whole: dict[str, Any] = {"routes": {"orders": {"provider": "memory", "handler": "shop:handle", **route}}}
    return whole if loafer is None else {"loafer": loafer, **whole}


def said(config: Config) -> list[str]:
    return [str(finding) for finding in config.findings]


def wrong(loafer: object = None, **route: object) -> list[str]:
    """Give the findings about ``mapping(...)``."""
    return said(read(mapping(loafer, **route), env={}))


# What a file says

WHOLE = """
    [loafer]
    shutdown_timeout = 40
    import_paths = ["src", "/opt/shop"]
    lifespan = "shop.app:lifespan"
    on_bad_route = "degrade"
    observers = ["statsd", { name = "shop.watch:Watch", every = 3 }]
    sample_interval = "2.5"

    [plugins]
    disable = ["sentry"]
    only = ["loafer-sqs/sqs", "json"]

    [defaults.sqs]
    region_name = "eu-west-1"

    [routes.orders]
    provider = { name = "sqs", queue = "orders" }
    translator = "json"
    handler = "shop.handlers:handle_order"
    error_handler = ["sentry", "shop.errors:decide"]
    middleware = "shop.tenancy:middleware"
    concurrency = 50
    handler_timeout = 30
    retry = { base = 30, cap = 900 }
    returns = "strict"
    breaker = { failures = 20, window = 60 }
    ledger = false

    [routes.forward]
    provider = { name = "loafer-sqs/sqs", queue = "source" }
    handler = { name = "sqs", queue = "destination" }
    retry = "leave"
"""


def test_a_whole_file_is_read_into_settings(write: Write) -> None:
    path = write(WHOLE)
    assert read(path, env={}) == Config(
        Settings(
            shutdown_timeout=40.0,
            import_paths=(path.parent / "src", Path("/opt/shop")),
            lifespan="shop.app:lifespan",
            on_bad_route="degrade",
            observers=("statsd", {"name": "shop.watch:Watch", "every": 3}),
            sample_interval=2.5,
            plugins_disable=("sentry",),
            plugins_only=("loafer-sqs/sqs", "json"),
            defaults={"sqs": {"region_name": "eu-west-1"}},
            routes=(
                Route(
                    "orders",
                    provider={"name": "sqs", "queue": "orders"},
                    translator="json",
                    handler="shop.handlers:handle_order",
                    error_handler=("sentry", "shop.errors:decide"),
                    middleware=("shop.tenancy:middleware",),
                    concurrency=50,
                    handler_timeout=30.0,
                    retry=Retry(base=30.0, cap=900.0),
                    returns="strict",
                    breaker=Breaker(failures=20, window=60.0),
                    ledger=False,
                ),
                Route(
                    "forward",
                    provider={"name": "loafer-sqs/sqs", "queue": "source"},
                    handler={"name": "sqs", "queue": "destination"},
                    retry="leave",
                ),
            ),
        ),
        (),
        path,
    )


def test_what_a_file_does_not_say_has_its_default(tmp_path: Path) -> None:
    config = read(mapping(), env={}, cwd=tmp_path)
    assert config.findings == ()
    assert config.path is None
    assert config.settings == Settings(
        import_paths=(tmp_path,), routes=(Route("orders", provider="memory", handler="shop:handle"),)
    )


def test_every_problem_of_a_file_is_told_at_once_in_its_order_with_path_and_nearest_name(write: Write) -> None:
    path = write("""
        [loafer]
        shutdown_timout = 25
        shutdown_timeout = true
        lifespan = "shop.app.lifespan"
        on_bad_route = "degraded"
        sample_interval = 0

        [plugin]
        disable = "sentry"

        [plugins]
        disable = "sentry"

        [routes.Orders]
        provider = { name = "sqs", queue = "${QUEUE}" }
        translater = "json"
        handler = "shop.handlers.handle_order"
        error_handler = ["sentry", 4]
        concurrency = 0
        handler_timeout = "${TIMEOUT}"
        retry = { base = true, cap = -900, caps = 4 }
        returns = "lenien"
        breaker = { failures = 20 }
        ledger = "maybe"

        [routes.forward]
        provider = { queue = "source" }
        middleware = [["a:b"]]
        retry = "leav"
    """)
    assert [(finding.where, finding.message) for finding in read(path, env={"TIMEOUT": "canary"}).findings] == [
        ("loafer.shutdown_timout", "unknown option; did you mean 'shutdown_timeout'?"),
        ("loafer.shutdown_timeout", "a boolean is not a number; expected a number"),
        ("loafer.lifespan", 'expected "module:attribute", such as "shop.app:lifespan"'),
        ("loafer.on_bad_route", "expected 'exit' or 'degrade', not 'degraded'; did you mean 'degrade'?"),
        ("loafer.sample_interval", "0 is out of range; expected a number, more than 0"),
        ("plugin", "unknown option; did you mean 'plugins'?"),
        ("plugins.disable", "expected a list, not 'sentry'"),
        ("routes.Orders", "a route's name is a lower-case letter, then lower-case letters, digits, '_' or '-'"),
        ("routes.Orders.provider.queue", "the environment variable QUEUE is not set"),
        ("routes.Orders.translater", "unknown option; did you mean 'translator'?"),
        (
            "routes.Orders.handler",
            "'shop.handlers.handle_order' is no component's name; "
            "did you mean 'shop.handlers:handle_order', with a colon?",
        ),
        (
            "routes.Orders.error_handler[1]",
            'a component is a name, a table with `name`, or "module:attribute"; not 4',
        ),
        ("routes.Orders.concurrency", "0 is out of range; expected a whole number, 1 or more"),
        ("routes.Orders.handler_timeout", "expected a number, not a string"),
        ("routes.Orders.retry.base", "a boolean is not a number; expected a number"),
        ("routes.Orders.retry.cap", "-900 is out of range; expected a number, more than 0"),
        ("routes.Orders.retry.caps", "unknown option; did you mean 'cap'?"),
        ("routes.Orders.returns", "expected 'lenient', 'strict' or 'truthy', not 'lenien'; did you mean 'lenient'?"),
        ("routes.Orders.breaker.window", "missing; expected a number"),
        ("routes.Orders.ledger", "expected true or false, not 'maybe'"),
        (
            "routes.forward.provider",
            'this table needs `name`, a string; a component is a name, a table with `name`, or "module:attribute"',
        ),
        ("routes.forward.middleware[0]", "one component, not a list"),
        ("routes.forward.retry", "expected a table or 'leave', not 'leav'; did you mean 'leave'?"),
        ("routes.forward.handler", "missing; a route needs a component that its messages go to"),
    ]


def test_what_is_right_in_a_wrong_file_is_still_there_so_that_more_can_be_found() -> None:
    raw: dict[str, Any] = {
        "loafer": {"shutdown_timeout": "soon", "observers": ["statsd", 3], "import_paths": ["/opt/shop", 4]},
        "plugins": {"disable": 3, "only": ["sqs"]},
        "defaults": {"sqs": {"a": 1}, "json": 3},
        "routes": {
            "Orders": {"provider": "sqs", "handler": 3, "translator": [], "concurrency": 7, "retry": {"base": 0}},
            "forward": {"handler": "sqs", "error_handler": ["a:b", 3, "sentry"], "ledger": "x"},
            "other": "sqs",
        },
        "rotues": {},
    }
    config = read(raw, env={})
    assert config.settings == Settings(
        import_paths=(Path("/opt/shop"),),
        observers=("statsd",),
        plugins_only=("sqs",),
        defaults={"sqs": {"a": 1}},
        routes=(
            Route("Orders", provider="sqs", handler=None, translator=None, concurrency=7),  # type: ignore[arg-type]
            Route("forward", provider=None, handler="sqs", error_handler=("a:b", "sentry")),  # type: ignore[arg-type]
        ),
    )
    assert len(config.findings) == 14


def test_a_configuration_without_routes_is_an_error_with_the_way_out() -> None:
    empty: list[dict[str, Any]] = [{}, {"routes": {}}]
    for raw in empty:
        assert said(read(raw, env={})) == ["routes: none; add a table [routes.NAME] with provider and handler"]
    assert said(read({"routes": 3}, env={})) == ["routes: expected a table, not 3"]


def test_a_route_needs_a_provider_and_a_handler() -> None:
    assert [finding.where for finding in read({"routes": {"orders": {}}}, env={}).findings] == [
        "routes.orders.provider",
        "routes.orders.handler",
    ]


@pytest.mark.parametrize("name", ["Orders", "1st", "", "a b", "-x", "or.ders", "órders", "orders\n"])
def test_a_route_with_another_name_is_refused(name: str) -> None:
    [finding] = read({"routes": {name: {"provider": "memory", "handler": "a:b"}}}, env={}).findings
    assert finding.where.startswith("routes.")
    assert "a route's name is" in finding.message


# Components


@pytest.mark.parametrize(
    "value",
    [
        "sqs",
        "loafer-sqs/sqs",
        "Loafer.SQS/sqs",
        "shop.handlers:handle",
        "shop:Class.method",
        {"name": "sqs"},
        {"name": "shop:Class", "k": {"name": 3}},
    ],
)
def test_a_component_is_a_name_a_table_or_an_attribute(value: object) -> None:
    config = read(mapping(provider=value, translator=value, handler=value, middleware=[value, value]), env={})
    assert config.findings == ()
    [route] = config.settings.routes
    assert (route.provider, route.translator, route.handler) == (value, value, value)
    assert route.middleware == (value, value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", "'' is no component's name"),
        ("SQS", "'SQS' is no component's name ([a-z][a-z0-9_-]*, or distribution/name)"),
        ("a/b/c", "'a/b/c' is no component's name"),
        ("/sqs", "'/sqs' is no component's name"),
        ("shop.handle", "did you mean 'shop:handle', with a colon?"),
        (":handle", 'expected "module:attribute", such as "shop.handlers:handle_order"; not \':handle\''),
        ("shop:", 'expected "module:attribute", such as "shop.handlers:handle_order"; not \'shop:\''),
        ("a:b:c", "not 'a:b:c'"),
        ("my shop:handle", "not 'my shop:handle'"),
        ({}, "this table needs `name`"),
        ({"queue": "q"}, "this table needs `name`"),
        ({"name": 3}, "this table needs `name`, a string; a component is"),
        ({"name": ""}, "'' is no component's name"),
        ({"name": "sqs", 3: 4}, "the name of an option is a string, not 3"),
        ([], "one component, not a list"),
        (["sqs"], "one component, not a list"),
        (3, 'a component is a name, a table with `name`, or "module:attribute"; not 3'),
        (True, "not a boolean"),
        (None, "not nothing"),
        (b"sqs", "not an object of bytes"),
    ],
)
def test_a_component_of_another_shape_is_refused(value: object, text: str) -> None:
    for key in ("provider", "translator", "handler"):
        [finding] = wrong(**{key: value})
        assert finding.startswith(f"routes.orders.{key}: ")
        assert text in finding
    for key in ("error_handler", "middleware"):
        [finding] = wrong(**{key: ["memory", value]})
        assert finding.startswith(f"routes.orders.{key}[1]: ")
        assert text in finding
    [finding] = wrong({"observers": ["statsd", value]})
    assert finding.startswith("loafer.observers[1]: ")
    assert text in finding


@pytest.mark.parametrize("key", ["error_handler", "middleware"])
def test_a_single_component_stands_for_a_list_of_one(key: str) -> None:
    config = read(mapping({"observers": "statsd"}, **{key: {"name": "sentry"}}), env={})
    assert config.findings == ()
    assert getattr(config.settings.routes[0], key) == ({"name": "sentry"},)
    assert config.settings.observers == ("statsd",)
    [finding] = wrong(**{key: "no name"})
    assert finding.startswith(f"routes.orders.{key}: ")


def test_objects_in_a_mapping_pass_untouched() -> None:
    class Thing:
        def __eq__(self, other: object) -> bool:
            raise AssertionError("asked")

        def __hash__(self) -> int:
            raise AssertionError("asked")

    thing: Any = Thing()
    cls, options = Thing, {"name": "shop:Class", "inner": [Thing()]}
    config = read(mapping({"observers": thing}, provider=thing, handler=cls, middleware=[print, options]), env={})
    assert config.findings == ()
    [route] = config.settings.routes
    assert route.provider is thing
    assert route.handler is cls
    assert config.settings.observers[0] is thing
    assert isinstance(route.middleware, tuple)
    assert route.middleware[0] is print
    assert route.middleware[1]["inner"][0] is options["inner"][0]


# Numbers


@pytest.mark.parametrize("key", ["concurrency", "handler_timeout"])
def test_a_boolean_is_no_number(key: str) -> None:
    [finding] = wrong(**{key: True})
    assert "a boolean is not a number" in finding


def test_a_string_is_read_as_a_number() -> None:
    config = read(
        mapping(concurrency="50", handler_timeout="1.5", breaker={"failures": "3", "window": "60"}, retry={"cap": "9"}),
        env={},
    )
    assert config.findings == ()
    [route] = config.settings.routes
    assert (route.concurrency, route.handler_timeout, route.retry) == (50, 1.5, Retry(cap=9.0))
    assert route.breaker == Breaker(failures=3, window=60.0)


# Where it comes from


def test_without_a_source_loafer_toml_is_read_and_goes_before_pyproject(write: Write, tmp_path: Path) -> None:
    write("[tool.loafer.routes.b]\nprovider = 'memory'\nhandler = 'a:b'", "pyproject.toml")
    assert [route.name for route in read("pyproject.toml", env={}, cwd=tmp_path).settings.routes] == ["b"]
    assert [route.name for route in read(env={}, cwd=tmp_path).settings.routes] == ["b"]
    path = write("[routes.a]\nprovider = 'memory'\nhandler = 'a:b'")
    config = read(env={}, cwd=tmp_path)
    assert [route.name for route in config.settings.routes] == ["a"]
    assert config.path == path


def test_without_any_file_it_is_said_what_was_looked_for_and_how_to_begin(write: Write, tmp_path: Path) -> None:
    write("[project]\nname = 'shop'", "pyproject.toml")
    with pytest.raises(ConfigError) as caught:
        read(env={}, cwd=tmp_path)
    text = str(caught.value)
    assert text.startswith("no configuration: neither loafer.toml nor a pyproject.toml with [tool.loafer]")
    assert "-c" in text
    (tmp_path / "pyproject.toml").unlink()
    with pytest.raises(ConfigError, match="no configuration"):
        read(env={}, cwd=tmp_path)
    starter = text[text.index("[routes.") : text.index("\n\nor ")]
    assert read(write(starter), env={}).findings == ()


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        (
            "loafer.toml",
            b"[routes\n",
            "loafer.toml: is not TOML: Expected ']'",
        ),
        ("loafer.toml", b"[routes.a]\nprovider = memory\n", "(at line 2, column 12)"),
        ("loafer.toml", b"a = '\xff'", "loafer.toml: is not UTF-8 (byte 5)"),
        ("loafer.toml", b"a = 2020-99-99", "loafer.toml: is not TOML"),
        ("loafer.toml", b"a = " + b"9" * 5000, "loafer.toml: is not TOML"),
        ("loafer.toml", b"a = " + b"[" * 100_000, "nested too deeply"),
        ("pyproject.toml", b"[tool.other]", "pyproject.toml: there is no [tool.loafer] in it"),
        ("pyproject.toml", b"tool = 3", "pyproject.toml: there is no [tool.loafer] in it"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_clear_error(tmp_path: Path, name: str, content: bytes, text: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read(name, env={}, cwd=tmp_path)
    assert text in str(caught.value)
    assert len(caught.value.findings) == 1


def test_a_file_that_is_not_there_is_named_as_it_was_given(tmp_path: Path) -> None:
    for source, text in [("deploy/loafer.toml", "there is no such file"), (".", "cannot be read: Is a directory")]:
        with pytest.raises(ConfigError) as caught:
            read(source, env={}, cwd=tmp_path)
        assert caught.value.findings == (Finding(source, text),)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "loafer.toml").write_bytes(b"\xef\xbb\xbf[routes.a]\r\nprovider = 'memory'\r\nhandler = 'a:b'\r\n")
    assert read(env={}, cwd=tmp_path).findings == ()


def test_import_paths_are_relative_to_the_file(write: Write, tmp_path: Path) -> None:
    write('[loafer]\nimport_paths = [".", "../lib"]\n[routes.a]\nprovider="memory"\nhandler="a:b"', "deploy/x.toml")
    config = read("deploy/x.toml", env={}, cwd=tmp_path)
    assert config.settings.import_paths == (tmp_path / "deploy", tmp_path / "lib")


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_a_file_that_everybody_may_change_is_warned_about(write: Write) -> None:
    path = write(WHOLE)
    path.chmod(0o646)
    [finding] = read(path, env={}).findings
    assert (finding.where, finding.level) == (str(path), "warning")
    assert "chmod o-w" in finding.message


# --set


def overridden(*overrides: str, **route: object) -> dict[str, Any]:
    config = read(mapping(**route), overrides=overrides, env={"HOST": "h"})
    assert config.findings == ()
    [found] = config.settings.routes
    return {"timeout": config.settings.shutdown_timeout} | {
        name: getattr(found, name) for name in ("provider", "translator", "concurrency", "middleware", "ledger")
    }


def test_an_override_wins_over_the_file_and_the_last_one_over_the_others() -> None:
    assert overridden("routes.orders.concurrency=50", concurrency=3)["concurrency"] == 50
    assert overridden("routes.orders.concurrency=50", "routes.orders.concurrency=60")["concurrency"] == 60
    assert overridden("loafer.shutdown_timeout=5")["timeout"] == 5.0


def test_the_value_of_an_override_is_read_as_toml_else_as_a_string() -> None:
    assert overridden("routes.orders.provider=memory")["provider"] == "memory"
    assert overridden("routes.orders.ledger=false")["ledger"] is False
    assert overridden("routes.orders.middleware=['a:b', 'c:d']")["middleware"] == ("a:b", "c:d")
    set_provider = overridden("routes.orders.provider={name = 'memory', x = [1, 2]}")["provider"]
    assert set_provider == {"name": "memory", "x": [1, 2]}
    for value in ("a=b", "http://h/?a=b&c", "", "true enough", " x", "1\nother = 2", '"open', "#"):
        assert overridden(f"routes.orders.provider.q={value}")["provider"] == {"name": "memory", "q": value}


def test_the_key_of_an_override_is_a_dotted_key_of_toml() -> None:
    for key in ('routes."orders".provider."a=b.c"', "routes.orders . provider.'a=b.c'"):
        assert overridden(f"{key}=1")["provider"] == {"name": "memory", "a=b.c": 1}


def test_an_override_of_an_option_makes_a_table_of_a_component_in_its_short_form() -> None:
    assert overridden("routes.orders.translator.model=x", translator="json")["translator"] == {
        "name": "json",
        "model": "x",
    }
    assert overridden("routes.orders.provider.queue=x", provider={"name": "sqs"})["provider"]["queue"] == "x"
    config = read(mapping({"observers": "statsd"}), overrides=["loafer.observers.port=8125"], env={})
    assert config.settings.observers == ({"name": "statsd", "port": 8125},)


def test_overrides_are_interpolated_too() -> None:
    assert overridden("routes.orders.provider.host=${HOST}")["provider"]["host"] == "h"


def test_a_mapping_stays_as_it_was_given() -> None:
    raw = mapping(provider={"name": "sqs", "queue": "${QUEUE}"})
    before = repr(raw)
    read(raw, overrides=["routes.orders.provider.queue=x", "routes.orders.concurrency=3"], env={})
    assert repr(raw) == before


@pytest.mark.parametrize("text", ["routes.orders.concurrency", "=5", "a..b=1", "a b=1", "a\nb=1", "", "a.=1", "[a]=1"])
def test_an_override_of_another_shape_is_a_mistake_of_the_command_line(text: str) -> None:
    with pytest.raises(OverrideError) as caught:
        read(mapping(), overrides=["loafer.shutdown_timeout=5", text, text], env={})
    assert [finding.where for finding in caught.value.findings] == ["--set", "--set"]
    assert "write KEY=VALUE" in str(caught.value)


def test_the_command_lines_mistakes_come_before_the_files(tmp_path: Path) -> None:
    with pytest.raises(OverrideError) as caught:
        read("missing.toml", overrides=["a..token=canary"], env={}, cwd=tmp_path)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "route", "finding"),
    [
        (
            "routes.orders.middleware.0.x=3",
            {"middleware": ["a:b"]},
            "routes.orders.middleware: --set cannot reach '0.x' in a list; set routes.orders.middleware as a whole",
        ),
        (
            "routes.orders.retry.cap=3",
            {"retry": "leave"},
            "routes.orders.retry: --set cannot reach 'cap' in a string; set routes.orders.retry as a whole",
        ),
        (
            "routes.orders.provider.queue=3",
            {"provider": print},
            "routes.orders.provider: --set cannot reach 'queue' in an object of builtin_function_or_method; "
            "set routes.orders.provider as a whole",
        ),
    ],
)
def test_an_override_that_cannot_get_there_is_a_finding(
    override: str, route: Mapping[str, object], finding: str
) -> None:
    assert said(read(mapping(**route), overrides=[override], env={})) == [finding]


def test_what_is_wrong_in_an_override_is_told_like_anything_else() -> None:
    config = read(mapping(), overrides=["routes.orders.concurency=3", "routes.other.provider=memory"], env={})
    assert said(config) == [
        "routes.orders.concurency: unknown option; did you mean 'concurrency'?",
        "routes.other.handler: missing; a route needs a component that its messages go to",
    ]


# ${VAR}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${NAME}", "orders"),
        ("a-${NAME}-${NUMBER}", "a-orders-10"),
        ("${NAME:-other}", "orders"),
        ("${UNSET:-other}", "other"),
        ("${EMPTY:-other}", "other"),
        ("${EMPTY}", ""),
        ("${UNSET:-}", ""),
        ("${UNSET:-a:-b $ x}", "a:-b $ x"),
        ("$${NAME}", "${NAME}"),
        ("$$${NAME}", "$${NAME}"),
        ("$${", "${"),
        ("$NAME $ {NAME}", "$NAME $ {NAME}"),
        ("${NESTED}", "${NAME}"),
    ],
)
def test_variables_are_filled_into_strings_at_any_depth(text: str, value: str) -> None:
    env = {"NAME": "orders", "NUMBER": "10", "EMPTY": "", "NESTED": "${NAME}"}
    raw = mapping(provider={"name": "sqs", "x": [{"${NAME}": (text, 3)}]})
    raw["defaults"] = {"sqs": {"y": text}}
    config = read(raw, env=env)
    assert config.findings == ()
    assert config.settings.routes[0].provider == {"name": "sqs", "x": [{"${NAME}": (value, 3)}]}
    assert config.settings.defaults == {"sqs": {"y": value}}


def test_a_variable_may_be_a_number_or_a_components_name() -> None:
    raw = mapping({"shutdown_timeout": "${N}"}, concurrency="${N}", provider="${P}", translator={"name": "${P}"})
    config = read(raw, env={"N": "10", "P": "memory"})
    assert config.findings == ()
    assert config.settings.shutdown_timeout == 10.0
    [route] = config.settings.routes
    assert (route.concurrency, route.provider, route.translator) == (10, "memory", {"name": "memory"})


def test_an_unset_variable_is_one_error_that_names_it_and_its_place() -> None:
    raw = mapping(
        {"lifespan": "${A}"},
        concurrency="${N}",
        provider={"name": "${P}", "x": ["${Q}-${R}"]},
        handler="${H}",
        middleware=["${M}"],
    )
    config = read(raw, env={})
    assert said(config) == [
        f"{where}: the environment variable {name} is not set"
        for where, name in [
            ("loafer.lifespan", "A"),
            ("routes.orders.provider.name", "P"),
            ("routes.orders.provider.x[0]", "Q"),
            ("routes.orders.provider.x[0]", "R"),
            ("routes.orders.handler", "H"),
            ("routes.orders.concurrency", "N"),
            ("routes.orders.middleware[0]", "M"),
        ]
    ]
    [route] = config.settings.routes
    assert [route.provider, route.handler, route.concurrency] == [None, None, 10]


@pytest.mark.parametrize("text", ["${", "${}", "${1A}", "${A", "${A-b}", "${A:b}", "${A:-${B}}", "x ${a b} y"])
def test_a_malformed_variable_is_an_error_that_shows_the_form(text: str) -> None:
    [finding] = wrong(provider={"name": "sqs", "queue": text})
    assert finding == (
        "routes.orders.provider.queue: malformed ${: write ${VAR} or ${VAR:-default}; a literal ${ is written $${"
    )


def test_what_came_from_the_environment_is_not_shown_by_who_validates_the_options_later() -> None:
    config = read(
        mapping(provider={"name": "sqs", "size": "${SIZE}", "port": "1${PORT}"}),
        env={"SIZE": "canary", "PORT": "canary"},
    )
    [route] = config.settings.routes
    assert isinstance(route.provider, Mapping)
    _, findings = validate(dict[str, int], {k: v for k, v in route.provider.items() if k != "name"}, "x")
    assert len(findings) == 2
    assert "canary" not in "".join(map(str, findings))
    assert "canary" not in repr(config)


def test_a_components_name_from_the_environment_is_not_shown_but_its_shape_is_explained() -> None:
    for value in ("shop.canary", "No Canary", "canary:"):
        [text] = said(read(mapping(handler="${HANDLER}"), env={"HANDLER": value}))
        assert "canary" not in text.lower()
        assert "a string" in text
        assert "module:attribute" in text


# Routes made in Python


def test_a_route_made_in_python_that_is_right_has_no_findings() -> None:
    provider: Any = object()
    routes = [
        Route("a", provider="memory", handler=print, retry="leave"),
        Route("b", provider=provider, handler=print, retry=Retry(base=3, cap=4.5), middleware=[print], ledger=False),
        Route("c", provider=provider, handler=object, breaker=Breaker(failures=1, window=2), handler_timeout=3),
    ]
    assert [check_route(route) for route in routes] == [[], [], []]


def test_a_route_made_in_python_is_held_to_the_same_rules() -> None:
    route = Route(
        "Orders",
        provider={"queue": "q"},
        handler=None,
        middleware=[print, 3],  # type: ignore[list-item]
        concurrency=True,
        handler_timeout=-1,
        retry=Retry(base=True, cap=0),
        returns="lenien",  # type: ignore[arg-type]
        breaker=Breaker(failures=0, window=3),
    )
    assert [(finding.where, finding.message.split(";")[0]) for finding in check_route(route)] == [
        ("routes.Orders", "a route's name is a lower-case letter, then lower-case letters, digits, '_' or '-'"),
        ("routes.Orders.provider", "this table needs `name`, a string"),
        ("routes.Orders.handler", 'a component is a name, a table with `name`, or "module:attribute"'),
        ("routes.Orders.middleware[1]", 'a component is a name, a table with `name`, or "module:attribute"'),
        ("routes.Orders.concurrency", "a boolean is not a number"),
        ("routes.Orders.handler_timeout", "-1 is out of range"),
        ("routes.Orders.retry.base", "a boolean is not a number"),
        ("routes.Orders.retry.cap", "0 is out of range"),
        ("routes.Orders.returns", "expected 'lenient', 'strict' or 'truthy', not 'lenien'"),
        ("routes.Orders.breaker.failures", "0 is out of range"),
    ]


def test_a_route_made_in_python_gives_values_and_not_their_spelling() -> None:
    route = Route(
        "orders",
        provider="memory",
        handler=print,
        concurrency="10",  # type: ignore[arg-type]
        handler_timeout=3,
        retry={"base": 3},  # type: ignore[arg-type]
        breaker=Breaker(failures="3", window=3),  # type: ignore[arg-type]
        returns="nonsense",  # type: ignore[arg-type]
    )
    assert [str(finding).split(" itself")[0].split(",")[0] for finding in check_route(route)] == [
        "routes.orders.concurrency: give 10",
        "routes.orders.retry: give Retry(base=3.0",
        "routes.orders.returns: expected 'lenient'",
        "routes.orders.breaker: give Breaker(failures=3",
    ]
    half = Route("orders", provider="memory", handler=print, concurrency=10.0)  # type: ignore[arg-type]
    assert [str(finding) for finding in check_route(half)] == ["routes.orders.concurrency: give 10 itself, not 10.0"]


# Whatever comes

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["sqs", "a:b", "${A}"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("name"), inner, max_size=3),
    max_leaves=6,
)


def tables(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(names), values, max_size=4)


routes = tables(*(name for name in Route.__dataclass_fields__ if name != "name"), "provder", "api_token")
configurations = st.fixed_dictionaries(
    {},
    optional={
        "loafer": tables(*Settings.__dataclass_fields__) | values,
        "plugins": tables("disable", "only") | values,
        "defaults": st.dictionaries(st.text(), values, max_size=2) | values,
        "routes": st.dictionaries(st.sampled_from(["a", "B", ""]), routes | values, max_size=2) | values,
        "other": values,
    },
)


@settings(deadline=None)
@given(configurations)
def test_whatever_a_mapping_holds_it_is_read_or_refused_with_places(raw: dict[str, Any]) -> None:
    config = read(raw, env={"A": "canary"})
    assert isinstance(config.settings, Settings)
    assert "canary" not in "".join(said(config))
    for route in config.settings.routes if not config.findings else ():
        assert check_route(route) == []


@settings(deadline=None)
@given(configurations, st.data())
def test_a_secret_never_shows_wherever_it_was_put(raw: dict[str, Any], data: st.DataObject) -> None:
    canary = data.draw(st.sampled_from(["canary-4711", "canary:4711", "shop.canary", "${TOKEN}", 471147114711]))
    key = data.draw(st.sampled_from(["password", "aws_secret", "api-key"])) if canary != "${TOKEN}" else "queue"
    at: Any = raw
    while keys := [name for name, inner in at.items() if isinstance(inner, dict)]:
        if data.draw(st.booleans()):
            break
        at = at[data.draw(st.sampled_from(keys))]
    at[key] = data.draw(st.sampled_from([canary, [canary], {"name": canary}, {"retry": canary, "handler": canary}]))
    config = read(raw, env={"TOKEN": "canary-4711"})
    assert "canary" not in "".join(said(config)).lower()
    assert "4711" not in "".join(said(config))


def test_a_mapping_that_holds_itself_is_refused() -> None:
    raw = mapping()
    raw["routes"]["orders"]["provider"] = {"name": "x", "self": raw}
    with pytest.raises(ConfigError, match="nested too deeply"):
        read(raw, env={})
