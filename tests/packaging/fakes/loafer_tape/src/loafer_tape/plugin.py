"""What the entry point names: light, and it imports only the door."""

from loafer_core import Options, ProviderSpec, hookimpl

LOAFER_API = 1


class TapeOptions(Options):
    reel: str


def _provider(options: TapeOptions):
    raise AssertionError("no provider is built before a route uses it")


@hookimpl
def loafer_providers():
    return [ProviderSpec(name="tape", summary="A tape reel", options=TapeOptions, factory=_provider)]
