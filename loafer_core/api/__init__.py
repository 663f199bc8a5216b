"""What users and plugin authors see: messages, outcomes, errors, routes, and the contract with plugins.

Read ``message``, ``outcomes``, ``provider`` and ``components`` (the contract, sentence by sentence), then
``declarations`` and ``hookspecs`` (what a plugin returns at start-up). Nothing here does anything: no I/O, no tasks.

Imports nothing else of the core.
"""
