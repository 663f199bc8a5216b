"""The provider contract, as a pytest class: everything that ``protocols.Provider`` says, line by line."""

from __future__ import annotations

from loafer_core.testing.provider_leases import Leasing
from loafer_core.testing.provider_opening import Opening
from loafer_core.testing.provider_order import Ordering
from loafer_core.testing.provider_receiving import Receiving
from loafer_core.testing.provider_settling import Settling
from loafer_core.testing.provider_stopping import Stopping
from loafer_core.testing.under_dispatcher import AtWork


class ProviderContract(Opening, Receiving, Settling, Leasing, Ordering, Stopping, AtWork):
    """Inherit it, name the component, declare its traits, and give it a harness::

        class TestProvider(ProviderContract):
            component = "acme"
            traits = Traits(lease=30.0, stable_ids=True)

            @pytest.fixture
            def harness(self): return AcmeHarness()

    The harness is a ``ProviderHarness``: a fresh and empty source for each check.
    """
