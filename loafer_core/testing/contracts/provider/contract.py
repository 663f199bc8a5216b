"""The provider contract, as a pytest class: everything that ``api.provider.Provider`` says, line by line."""

from __future__ import annotations

from loafer_core.testing.contracts.provider.at_work import AtWork
from loafer_core.testing.contracts.provider.leases import Leasing
from loafer_core.testing.contracts.provider.opening import Opening
from loafer_core.testing.contracts.provider.order import Ordering
from loafer_core.testing.contracts.provider.receiving import Receiving
from loafer_core.testing.contracts.provider.settling import Settling
from loafer_core.testing.contracts.provider.stopping import Stopping


class ProviderContract(Opening, Receiving, Settling, Leasing, Ordering, Stopping, AtWork):
    """Inherit it, name the component, declare its traits, and give it a harness::

        class TestProvider(ProviderContract):
            component = "acme"
            traits = Traits(lease=30.0, stable_ids=True)

            @pytest.fixture
            def harness(self): return AcmeHarness()

    The harness is a ``ProviderHarness``: a fresh and empty source for each check.
    """
