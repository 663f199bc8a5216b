"""Our own distributions keep the plugin contract."""

from __future__ import annotations

from loafer_core.testing import PluginContract


class TestSQS(PluginContract):
    distribution = "loafer-sqs"


class TestJSON(PluginContract):
    distribution = "loafer-json"


class TestSentry(PluginContract):
    distribution = "loafer-sentry"
