"""The contracts that plugins keep, as pytest classes: a module for each kind of component.

Each check is a story about one sentence of a contract. Read ``plugin``, then the kind in question; ``options`` holds
for all. The provider's contract is a package.

May import ``kit`` and the core; needs pytest.
"""
