"""A plugin of a stranger, built and installed by the tests."""
