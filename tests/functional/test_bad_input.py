"""What a user or a plugin may get wrong, told by the command line: the thing, the place, the way out, no traceback."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TWENTY = Path(__file__).with_name("twenty_mistakes.toml")

ORDERS = """
[routes.orders]
provider = { name = "memory", queue = "orders" }
handler = "shop.orders:handle_order"
"""

SHOP = {
    "shop/orders.py": """
        def handle_order(order): ...
        def nothing(): ...
        def three(one, two, three): ...
        async def stream(order):
            yield order
        async def around(message): ...
        async def annotated(order: "Ordr"): ...
        async def undecodable(order: type(lambda: 0)): ...
        class Orders: ...
        """,
    "shop/fails.py": "import os\n\nvalue = os.environ['SHOP_SETTING']\n",
    "shop/quits.py": "raise SystemExit('no licence')\n",
    "shop/unwritten.py": "def handle(:\n",
    "shop/needs.py": "import no_such_library\n",
}

MISTAKES: dict[str, tuple[str, str, str]] = {
    # keys
    "a table that there is not": ("[rutes.x]\na = 1", "rutes", "did you mean 'routes'?"),
    "a key of [loafer]": (
        "[loafer]\nshutdown_timout = 5",
        "loafer.shutdown_timout",
        "did you mean 'shutdown_timeout'?",
    ),
    "a key of [plugins]": ("[plugins]\ndisabled = []", "plugins.disabled", "did you mean 'disable'?"),
    "a plugin in [defaults]": ("[defaults.sqss]\na = 1", "defaults.sqss", "did you mean 'sqs'?"),
    "an option in [defaults]": ("[defaults.sqs]\nregoin_name = ''", "defaults.sqs.regoin_name", "'region_name'?"),
    "a key of a route": ("[routes.orders]\nconcurency = 5", "routes.orders.concurency", "did you mean 'concurrency'?"),
    "a key of retry": ("[routes.orders]\nretry = { bass = 1 }", "routes.orders.retry.bass", "did you mean 'base'?"),
    "a key like none": (
        "[routes.orders]\nzzz = 1",
        "routes.orders.zzz",
        "the options are: provider, handler, translator,",
    ),
    "a route's name": (ORDERS.replace("orders]", "Orders]"), "routes.Orders", "a lower-case letter, then"),
    # components
    "an unknown provider": ("[routes.orders]\nprovider = 'memroy'", "routes.orders.provider", "did you mean 'memory'?"),
    "an unknown translator": ("[routes.orders]\ntranslator = 'jsn'", "routes.orders.translator", "mean 'json'?"),
    "an unknown handler": ("[routes.orders]\nhandler = 'sqss'", "routes.orders.handler", "did you mean 'sqs'?"),
    "an unknown error handler": (
        "[routes.orders]\nerror_handler = ['log', 'sentri']",
        "routes.orders.error_handler[1]",
        "did you mean 'sentry'?",
    ),
    "an unknown middleware": (
        "[routes.orders]\nmiddleware = ['sns-signatur']",
        "routes.orders.middleware[0]",
        "did you mean 'sns-signature'?",
    ),
    "an unknown observer": ("[loafer]\nobservers = ['statsd']", "loafer.observers[0]", "(known: none)"),
    "one of another kind": (
        "[routes.orders]\ntranslator = 'sqs'",
        "routes.orders.translator",
        "'sqs' is a handler and",
    ),
    "a dot for a colon": (
        "[routes.orders]\nhandler = 'shop.orders.handle_order'",
        "routes.orders.handler",
        "did you mean 'shop.orders:handle_order', with a colon?",
    ),
    "a component without name": (
        "[routes.orders]\nprovider = { queue = 'orders' }",
        "routes.orders.provider",
        "this table needs `name`, a string",
    ),
    "a component that is a number": ("[routes.orders]\nhandler = 5", "routes.orders.handler", "a component is a name,"),
    # options
    "a misspelt option": (
        "[routes.orders]\nprovider = { name = 'memory', leese = 5 }",
        "routes.orders.provider.leese",
        "did you mean 'lease'?",
    ),
    "a required option left out": (
        "[routes.orders]\nprovider = 'sqs'",
        "routes.orders.provider.queue",
        "missing; expected a string (Queue name or URL)",
    ),
    "an option of the wrong type": (
        "[routes.orders]\nprovider = { name = 'memory', lease = 'long' }",
        "routes.orders.provider.lease",
        "expected a number, not 'long'",
    ),
    "an option out of range": (
        "[routes.orders]\nprovider = { name = 'sqs', queue = 'orders', wait_time_seconds = 30 }",
        "routes.orders.provider.wait_time_seconds",
        "30 is out of range; expected a whole number, 0 to 20",
    ),
    "an option that another one needs": (
        "[routes.orders]\nprovider = { name = 'memory', max_receives = 3 }",
        "routes.orders.provider",
        "max_receives needs dead_letter",
    ),
    # values
    "a word for a number": ("[routes.orders]\nconcurrency = 'ten'", "routes.orders.concurrency", "a whole number, not"),
    "a boolean for a number": (
        "[routes.orders]\nhandler_timeout = true",
        "routes.orders.handler_timeout",
        "a boolean is not a number; expected a number",
    ),
    "a number out of range": ("[routes.orders]\nconcurrency = 0", "routes.orders.concurrency", "1 or more"),
    "time without end": ("[loafer]\nshutdown_timeout = inf", "loafer.shutdown_timeout", "expected a finite number"),
    "one of several words": ("[routes.orders]\nreturns = 'truty'", "routes.orders.returns", "did you mean 'truthy'?"),
    "a table for a word": ("[loafer.on_bad_route]\na = 1", "loafer.on_bad_route", "expected 'exit' or 'degrade'"),
    "half a breaker": ("[routes.orders]\nbreaker = { failures = 3 }", "routes.orders.breaker.window", "missing;"),
    "an unset variable": (
        "[routes.orders]\nprovider = { name = 'memory', queue = '${SHOP_QUEUE}' }",
        "routes.orders.provider.queue",
        "the environment variable SHOP_QUEUE is not set",
    ),
    "an unfinished variable": (
        "[routes.orders]\nprovider = { name = 'memory', queue = '${SHOP-QUEUE}' }",
        "routes.orders.provider.queue",
        "write ${VAR} or ${VAR:-default}",
    ),
    # the user's code
    "a module that is not there": (
        "[routes.orders]\nhandler = 'shop.orderz:handle_order'",
        "routes.orders.handler",
        "there is no module 'shop.orderz'",
    ),
    "a package that is not there": (
        "[routes.orders]\nhandler = 'shopp.orders:handle_order'",
        "routes.orders.handler",
        "there is no module 'shopp' (looked for 'shopp.orders'; is its folder in loafer.import_paths?)",
    ),
    "an attribute that is not there": (
        "[routes.orders]\nhandler = 'shop.orders:handle_ordr'",
        "routes.orders.handler",
        "module 'shop.orders' has no attribute 'handle_ordr'; did you mean 'handle_order'?",
    ),
    "a module that fails": (
        "[routes.orders]\nhandler = 'shop.fails:handle'",
        "routes.orders.handler",
        "fails.py, line 3)",
    ),
    "a module that exits": (
        "[routes.orders]\nhandler = 'shop.quits:handle'",
        "routes.orders.handler",
        "SystemExit: no licence",
    ),
    "a module that is no Python": (
        "[routes.orders]\nhandler = 'shop.unwritten:handle'",
        "routes.orders.handler",
        "unwritten.py, line 1)",
    ),
    "a module that lacks a library": (
        "[routes.orders]\nhandler = 'shop.needs:handle'",
        "routes.orders.handler",
        "'shop.needs' itself imports 'no_such_library', which is not installed",
    ),
    "a handler without a parameter": (
        "[routes.orders]\nhandler = 'shop.orders:nothing'",
        "routes.orders.handler",
        "A handler takes (payload) or (payload, metadata)",
    ),
    "a handler with three": (
        "[routes.orders]\nhandler = 'shop.orders:three'",
        "routes.orders.handler",
        "A handler takes (payload) or (payload, metadata)",
    ),
    "a handler that yields": (
        "[routes.orders]\nhandler = 'shop.orders:stream'",
        "routes.orders.handler",
        "it has to return, not to yield",
    ),
    "a class without handle": (
        "[routes.orders]\nhandler = 'shop.orders:Orders'",
        "routes.orders.handler",
        "neither callable nor has a handle() method",
    ),
    "an annotation of nothing": (
        "[routes.orders]\nhandler = 'shop.orders:annotated'",
        "routes.orders.handler",
        "has to be importable where the handler is defined",
    ),
    "an error handler with no parameter": (
        "[routes.orders]\nerror_handler = 'shop.orders:nothing'",
        "routes.orders.error_handler",
        "one takes (failure) or (error, message)",
    ),
    "a middleware with one parameter": (
        "[routes.orders]\nmiddleware = 'shop.orders:around'",
        "routes.orders.middleware",
        "one is 'async (message, call_next) -> outcome'",
    ),
    "a misspelt option of a single error handler": (
        "[routes.orders]\nerror_handler = { name = 'log', levle = 'error' }",
        "routes.orders.error_handler.levle",
        "unknown option",
    ),
    "a misspelt option in a list of error handlers": (
        "[routes.orders]\nerror_handler = [{ name = 'log', levle = 'error' }]",
        "routes.orders.error_handler[0].levle",
        "unknown option",
    ),
    "a single middleware without a name": (
        "[routes.orders]\nmiddleware = { most = 3 }",
        "routes.orders.middleware",
        "this table needs `name`",
    ),
    "a function for a provider": (
        "[routes.orders]\nprovider = 'shop.orders:handle_order'",
        "routes.orders.provider",
        "is no provider: it lacks open(), receive()",
    ),
    "options for what takes none": (
        "[routes.orders]\nerror_handler = { name = 'shop.orders:nothing', retries = 3 }",
        "routes.orders.error_handler",
        "retries",
    ),
    "a lifespan without attribute": ("[loafer]\nlifespan = 'shop.app'", "loafer.lifespan", '"module:attribute"'),
    "a lifespan that is not there": (
        "[loafer]\nlifespan = 'shop.orders:lifespan'",
        "loafer.lifespan",
        "has no attribute 'lifespan'",
    ),
}


def filled_up(mistake: str) -> str:
    """The mistake in a file that is right but for it: a route is added, or what the route must have."""
    if "[routes." not in mistake:
        return mistake + "\n" + ORDERS
    for line in ORDERS.strip().splitlines()[1:]:
        if line.partition(" ")[0] not in [given.partition(" ")[0] for given in mistake.splitlines()]:
            mistake += f"\n{line}"
    return mistake


@pytest.mark.parametrize(("mistake", "place", "way_out"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_with_its_place_and_the_way_out(write, errors, mistake, place, way_out):
    write(**SHOP, **{"loafer.toml": filled_up(mistake)})

    [line] = errors()

    assert line.startswith(f"{place}: ")
    assert way_out in line
    assert len(line) < 400


# --- the file itself


def test_without_a_file_one_is_shown_to_start_with(loafer):
    result = loafer("check")

    lines = result.stderr.splitlines()
    assert result.exit_code == 1
    assert lines[0].startswith("error: no configuration: neither loafer.toml nor a pyproject.toml with [tool.loafer]")
    assert "[routes.orders]" in [line.strip() for line in lines]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone.toml", None, "gone.toml: there is no such file"),
        ("folder.toml", {}, "folder.toml: cannot be read: Is a directory"),
        (
            "half.toml",
            b"[loafer]\n\nshutdown_timeout = \n",
            "half.toml: is not TOML: Invalid value (at line 3, column 20)",
        ),
        ("twice.toml", b"a = 1\na = 2\n", "twice.toml: is not TOML: Cannot overwrite a value (at line 2, column 6)"),
        ("latin.toml", b"# caf\xe9\n", "latin.toml: is not UTF-8 (byte 5)"),
        ("empty.toml", b"", "routes: none; add a table [routes.NAME] with provider and handler"),
        ("pyproject.toml", b"[project]\n", "pyproject.toml: there is no [tool.loafer] in it"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(service, loafer, errors, name, content, said):
    if content is not None:
        (service / name).write_bytes(content) if content != {} else (service / name).mkdir()

    assert errors("-c", name) == [said]
    assert loafer("run", "-c", name).exit_code == 78


@pytest.mark.parametrize("command", [["run"], ["send", "orders"]])
def test_t50_what_would_run_says_what_check_says_and_exits_with_78(write, loafer, errors, command):
    write(**SHOP, **{"loafer.toml": filled_up("[routes.orders]\nhandler = 'shop.fails:handle'\nreturns = 'truty'")})

    result = loafer(*command, stdin="a body")

    assert result.exit_code == 78
    assert [line for line in result.stderr.splitlines() if line.startswith("error: ")] == [
        f"error: {line}" for line in errors()
    ]


def test_a_traceback_is_shown_when_asked_for_and_ends_where_the_users_code_failed(write, loafer):
    write(**SHOP, **{"loafer.toml": filled_up("[routes.orders]\nhandler = 'shop.fails:handle'")})

    for command in ("check", "run"):
        shown = loafer(command, "--traceback").stderr
        assert "Traceback (most recent call last)" in shown
        assert "value = os.environ['SHOP_SETTING']" in shown


def test_a_handler_that_returns_true_or_nothing_is_warned_of_and_fails_a_strict_check(write, loafer):
    write(**{"loafer.toml": ORDERS, "shop/orders.py": "def handle_order(order):\n    if order:\n        return True\n"})

    result = loafer("check")

    assert result.exit_code == 0
    assert result.stderr == (
        "warning: routes.orders.handler: returns True on some ways and nothing on others; nothing acks too: "
        "return False to keep the message\n"
    )
    assert loafer("check", "--strict").exit_code == 1


def test_t50_twenty_mistakes_are_told_at_once_in_the_order_of_the_file(loafer, errors):
    """Also for people: it is the file to show what ``check`` is for."""
    numbered = dict.fromkeys(re.findall(r"# (\d+)\. ", TWENTY.read_text()))
    ways_out = [
        ("loafer.shutdwn_timeout", "did you mean 'shutdown_timeout'?"),
        ("loafer.on_bad_route", "expected 'exit' or 'degrade'"),
        ("loafer.lifespan", 'expected "module:attribute"'),
        ("loafer.observers[0]", "(known: none)"),
        ("loafer.sample_interval", "expected a number"),
        ("plugins.disabled", "did you mean 'disable'?"),
        ("defaults.sqs.regoin_name", "did you mean 'region_name'?"),
        ("defaults.sentri", "did you mean 'sentry'?"),
        ("routes.orders.provider.wait_time_seconds", "0 to 20"),
        ("routes.orders.translator", "did you mean 'json'?"),
        ("routes.orders.handler", "did you mean 'handle_order'?"),
        ("routes.orders.error_handler[1]", "there is no module 'shop.errors'"),
        ("routes.orders.concurency", "did you mean 'concurrency'?"),
        ("routes.returns.provider.queue", "LOAFER_TEST_RETURNS is not set"),
        ("routes.returns.handler.carry_attributes", "expected true or false"),
        ("routes.returns.handler_timeout", "more than 0"),
        ("routes.returns.retry.bass", "did you mean 'base'?"),
        ("routes.warehouse.provider.queue", "letters, digits, '-' and '_', at most 80"),
        ("routes.warehouse.returns", "did you mean 'truthy'?"),
        ("routes.warehouse.handler", "a route needs a component that its messages go to"),
    ]

    lines = errors("-c", str(TWENTY))

    assert len(numbered) == len(ways_out) == 20
    assert [line.partition(": ")[0] for line in lines] == [place for place, _ in ways_out]
    assert [way_out for line, (_, way_out) in zip(lines, ways_out, strict=True) if way_out not in line] == []
