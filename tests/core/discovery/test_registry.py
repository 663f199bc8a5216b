"""Names and what they mean: bare names, full names, conflicts, and the advice where nothing is found."""

from __future__ import annotations

import pytest

from loafer_core import ErrorHandlerSpec, HandlerSpec, ProviderSpec, SandboxSpec, TranslatorSpec
from loafer_core.discovery.registry import Offer, Registry, UnknownComponent


def offer(spec_type, name: str, owner: str) -> Offer:
    distribution, plugin = owner.split("/")
    return Offer(spec_type(name=name, summary="A component", factory=lambda options: None), distribution, plugin)


def registry(*offers: Offer) -> Registry:
    filled = Registry()
    for each in offers:
        filled.add(each)
    return filled


def advice(registry: Registry, kind: str, name: str) -> str:
    with pytest.raises(UnknownComponent) as raised:
        registry.find(kind, name)
    return str(raised.value)


SQS = offer(ProviderSpec, "sqs", "loafer-sqs/sqs")
OTHER_SQS = offer(ProviderSpec, "sqs", "acme-queues/queues")
MEMORY = offer(ProviderSpec, "memory", "loafer-core/builtin")


def test_a_component_is_found_by_its_bare_name_and_by_its_full_name():
    known = registry(MEMORY, SQS)

    assert known.find("provider", "sqs") is SQS
    assert known.find("provider", "loafer-sqs/sqs") is SQS
    assert known.find("provider", "loafer-core/memory") is MEMORY


def test_a_full_name_is_found_however_the_distribution_is_spelt():
    assert registry(SQS).find("provider", "Loafer_SQS/sqs") is SQS


def test_one_name_may_be_taken_once_by_each_kind():
    handler = offer(HandlerSpec, "sqs", "loafer-sqs/sqs")
    known = registry(SQS, handler)

    assert known.find("provider", "sqs") is SQS
    assert known.find("handler", "sqs") is handler
    assert known.offers("handler") == (handler,)
    assert known.offers() == (SQS, handler)


def test_two_distributions_with_one_name_are_no_error_until_the_bare_name_is_used():
    known = registry(SQS, OTHER_SQS)

    assert known.find("provider", "acme-queues/sqs") is OTHER_SQS
    assert advice(known, "provider", "sqs") == (
        "provider 'sqs' is offered by the plugins loafer-sqs/sqs and acme-queues/queues; "
        "write 'acme-queues/sqs' or 'loafer-sqs/sqs', or put one of them into plugins.disable"
    )


def test_two_plugins_of_one_distribution_with_one_name_leave_only_disabling():
    known = registry(SQS, offer(ProviderSpec, "sqs", "loafer-sqs/sqs-beta"))

    for name in "sqs", "loafer-sqs/sqs":
        said = advice(known, "provider", name)
        assert "loafer-sqs/sqs and loafer-sqs/sqs-beta; put one of them into plugins.disable" in said
        assert "write" not in said


def test_a_name_of_the_core_stays_the_cores_when_a_stranger_offers_it():
    stranger = offer(ProviderSpec, "memory", "acme-queues/queues")

    for known in registry(stranger, MEMORY), registry(MEMORY, stranger):
        assert known.find("provider", "memory") is MEMORY
        assert known.find("provider", "acme-queues/memory") is stranger


def test_a_misspelt_name_is_answered_with_the_nearest_and_with_all_there_are():
    assert advice(registry(MEMORY, SQS), "provider", "sqss") == (
        "there is no provider 'sqss'; did you mean 'sqs'? (known: memory, sqs)"
    )
    assert "did you mean 'loafer-sqs/sqs'?" in advice(registry(MEMORY, SQS), "provider", "sqs/sqs")


def test_an_unknown_name_says_so_when_nothing_of_the_kind_is_installed():
    assert advice(registry(), "error_handler", "pager") == "there is no error handler 'pager' (known: none)"


@pytest.mark.parametrize(
    ("kind", "name", "distribution"),
    [
        ("provider", "sqs", "loafer-sqs"),
        ("handler", "sns", "loafer-sqs"),
        ("provider", "rabbitmq", "loafer-rabbitmq"),
        ("translator", "sns", "loafer-json"),
        ("error_handler", "sentry", "loafer-sentry"),
    ],
)
def test_a_well_known_component_is_answered_with_the_pip_install_that_brings_it(kind, name, distribution):
    assert f"; `pip install {distribution}` brings it (known: " in advice(registry(MEMORY), kind, name)


def test_a_well_known_component_asks_for_an_upgrade_when_its_distribution_is_there_without_it():
    json = offer(TranslatorSpec, "json", "loafer-json/json")

    assert "`pip install -U loafer-json` brings it" in advice(registry(json), "translator", "eventbridge")


def test_nothing_is_recommended_for_installing_that_a_stranger_could_have_registered():
    assert "pip install" not in advice(registry(MEMORY), "provider", "evil/sqs")
    assert "pip install" not in advice(registry(MEMORY), "provider", "kafka")


def test_a_component_of_a_broken_or_blocked_plugin_is_answered_with_what_happened_to_the_plugin():
    known = registry(MEMORY)
    known.note_unusable(plugin="sqs", distribution="loafer-sqs", state="broken", reason="cannot import 'x'")
    known.note_unusable(plugin="json", distribution="loafer-json", state="blocked", reason="plugins.disable names it")

    said = advice(known, "handler", "sns")  # its distribution is well known, whatever the plugin is called
    assert said == "there is no handler 'sns': the plugin loafer-sqs/sqs is broken: cannot import 'x' (known: none)"
    assert "loafer-json/json is blocked: plugins.disable names it" in advice(known, "translator", "json")
    assert "pip install" not in said


def test_an_unknown_name_mentions_every_plugin_that_could_not_be_asked_when_nothing_is_nearer():
    known = registry(MEMORY)
    known.note_unusable(plugin="acme", distribution="acme-queues", state="broken", reason="no LOAFER_API")

    assert "; the plugin acme-queues/acme is broken: no LOAFER_API (known:" in advice(known, "provider", "tape")
    assert "acme" not in advice(known, "provider", "memry")


def test_a_name_of_another_kind_is_recognised():
    known = registry(MEMORY, offer(ErrorHandlerSpec, "log", "loafer-core/builtin"))

    assert advice(known, "provider", "log") == "there is no provider 'log'; 'log' is an error handler (known: memory)"


def test_the_sandbox_of_a_component_is_its_own_plugins_even_where_two_have_one_name():
    ours = offer(SandboxSpec, "sqs", "loafer-sqs/sqs")
    theirs = offer(SandboxSpec, "sqs", "acme-queues/sqs")
    known = registry(SQS, theirs, ours, MEMORY)

    assert known.sandbox_for(SQS) is ours
    assert known.sandbox_for(MEMORY) is None
