"""Canaries in options, environment and bodies: no command shows them, whatever goes wrong around them.

The fixture ``loafer`` looks for them in everything that is printed.
"""

from __future__ import annotations

import json

import pytest

from loafer_core import MemoryQueue

SECRETS = """
[loafer]
lifespan = "shop:lifespan"

[defaults.sqs]
region_name = "eu-west-1"
endpoint_url = "{endpoint}"
aws_access_key_id = "canary-key-id"
aws_secret_access_key = "canary-secret"
aws_session_token = "${{SHOP_TOKEN}}"

[routes.orders]
provider = {{ name = "memory", queue = "orders", messages = ['{{"card": "canary-body"}}', 'canary-no-json'] }}
translator = "json"
handler = "shop:handle"
error_handler = [{{ name = "sentry", dsn = "https://canary-dsn@127.0.0.1:9/1", flush_timeout = 0.1 }}, "shop:decide"]
middleware = {{ name = "shop:Middleware", password = "${{SHOP_PASSWORD}}" }}

[routes.returns]
provider = {{ name = "sqs", queue = "returns" }}
handler = {{ name = "sqs", queue = "warehouse" }}
"""

SHOP = """
    import contextlib

    @contextlib.asynccontextmanager
    async def lifespan():
        yield {"token": "canary-state"}

    async def handle(order, metadata):
        raise ValueError(f"cannot charge {order} with {metadata['state']}")

    def decide(failure):
        raise RuntimeError(f"{failure.error} {failure.message.body}")

    class Middleware:
        def __init__(self, password):
            self.password = password

        async def handle(self, message, call_next):
            return await call_next(message)
"""


@pytest.fixture
def shop(write, sqs, monkeypatch):
    """A service full of canaries, whose SQS refuses everything with a text that repeats them."""
    monkeypatch.setenv("SHOP_TOKEN", "canary-token")
    monkeypatch.setenv("SHOP_PASSWORD", "canary-password")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-of-the-environment")
    refusal = {"__type": "com.amazonaws.sqs#InvalidSecurity", "message": "canary-token canary-body"}
    endpoint = sqs(dict.fromkeys(("GetQueueUrl", "GetQueueAttributes", "ReceiveMessage"), (403, refusal)))
    write(**{"shop.py": SHOP, "loafer.toml": SECRETS.format(endpoint=endpoint)})


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("check --strict", 0),
        ("routes", 0),
        ("routes --json", 0),
        ("schema", 0),
        ("plugins list", 0),
        ("plugins list --json", 0),
        ("plugins show sqs", 0),
        ("plugins docs sentry", 0),
        ("plugins check", 0),
        ("run --log-level debug", 78),
        ("run --log-level debug --route orders --until-empty=0.5", 1),
        ("run --traceback", 78),
        ("send orders", 0),
        ("send returns", 1),
    ],
)
def test_no_command_shows_a_secret_or_a_body(loafer, command, code):
    result = loafer(*command.split(), stdin="a canary in a body")

    assert result.exit_code == code, result.output


@pytest.mark.usefixtures("shop")
def test_failures_are_told_by_id_stage_and_place(loafer):
    result = loafer("run", "--route", "orders", "--until-empty=0.5")

    told = [line for line in result.stderr.splitlines() if "failed (stage" in line]
    assert sorted("translate" if "stage translate" in line else "handle" for line in told) == ["handle", "translate"]
    assert all("orders: message orders-" in line for line in told)


MISTAKES = {
    "a secret where a number is wanted": "concurrency = '${SHOP_SECRET}'",
    "a secret where one of several words is wanted": "returns = '${SHOP_SECRET}'",
    "a secret where a table is wanted": "breaker = '${SHOP_SECRET}'",
    "a secret for a component": "translator = '${SHOP_SECRET}'",
    "a secret for a component with options": "translator = { name = '${SHOP_SECRET}', a = 1 }",
    "a secret for a plugin": "error_handler = '${SHOP_SECRET}/decide'",
    "a secret for a route's option": "translator = { name = 'json', max_bytes = '${SHOP_SECRET}' }",
    "a secret beside a misspelt option": "middleware = { name = 'sns-signature', TOPICS, requires = '${SHOP_SECRET}' }",
    "a secret that a validator refuses": "middleware = { name = 'sns-signature', topics = ['${SHOP_SECRET}'] }",
    "a secret for a file": "middleware = { name = 'sns-signature', TOPICS, certificates = ['${SHOP_SECRET}'] }",
    "a secret that the user's own class quotes": "middleware = { name = 'shop:Quotes', password = '${SHOP_SECRET}' }",
    "a secret for a key that there is not": "pasword = 'canary-in-the-file'",
    "a secret in a misspelt option": "error_handler = { name = 'sentry', dns = 'https://canary-dsn@127.0.0.1/1' }",
    "a secret option of the wrong type": "error_handler = { name = 'sentry', dsn = ['canary-dsn'] }",
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_around_a_secret_is_told_without_it(write, errors, loafer, monkeypatch, mistake):
    monkeypatch.setenv("SHOP_SECRET", "canary_of_the_environment")
    given = mistake.partition(" ")[0]
    mistake = mistake.replace("TOPICS", "topics = ['arn:aws:sns:eu-west-1:123456789012:orders']")
    route = f"{mistake}\nprovider = 'memory'\nhandler = 'shop:handle'"
    quoting = "\nclass Quotes:\n    def __init__(self, password):\n        raise ValueError(f'bad: {password}')\n"
    write(**{"shop.py": "def handle(order): ...\n" + quoting, "loafer.toml": f"[routes.orders]\n{route}\n"})

    [line] = errors()

    assert line.startswith(f"routes.orders.{given}")
    assert loafer("run").exit_code == 78
    loafer("routes")


def test_a_half_pair_of_keys_and_a_wrong_endpoint_are_told_without_them(write, errors):
    for option in (
        "aws_secret_access_key = 'canary-secret'",
        "aws_session_token = 'canary-token'",
        "endpoint_url = 'http://canary:canary@127.0.0.1'",
        "aws_access_key_id = ['canary-key']",
    ):
        provider = f"{{ name = 'sqs', queue = 'orders', {option} }}"
        write(**{"loafer.toml": f"[routes.orders]\nprovider = {provider}\nhandler = 'builtins:print'\n"})

        [line] = errors()

        assert line.startswith("routes.orders.provider")


def test_a_line_that_is_no_toml_is_named_by_its_number_and_not_shown(write, errors):
    write(**{"loafer.toml": "[defaults.sqs]\naws_secret_access_key = canary-secret\n"})

    assert errors() == ["loafer.toml: is not TOML: Invalid value (at line 2, column 25)"]


def test_what_is_sent_and_not_taken_is_not_shown(write, loafer, service):
    write(**{"loafer.toml": "[routes.orders]\nprovider = 'shop:Closed'\nhandler = 'builtins:print'\n"})
    write(
        **{
            "shop.py": """
            from loafer_core import BaseProvider, Unavailable

            class Closed(BaseProvider):
                async def open(self, context): ...
                async def receive(self, limit): return []
                async def ack(self, messages): return {}
                async def nack(self, delays): return {}
                async def publish(self, body, attributes=None, group=None):
                    raise Unavailable("closed on Sundays")
            """,
            "lines.jsonl": '{"card": "canary-1"}\n{"card": "canary-2"}\n',
        }
    )

    result = loafer("send", "orders", "lines.jsonl", "--lines", "--attribute", "token=canary-token")

    assert (result.exit_code, result.stderr) == (1, "error: closed on Sundays\n")


@pytest.mark.usefixtures("shop")
def test_what_was_sent_is_shown_by_its_id_alone(loafer):
    result = loafer("send", "orders", "--attribute", "token=canary-token", stdin=json.dumps({"card": "canary-body"}))

    sent = MemoryQueue.named("orders").messages()[-1]
    assert (result.exit_code, result.stdout) == (0, f"{sent.id}\n")
    assert sent.body == '{"card": "canary-body"}'
