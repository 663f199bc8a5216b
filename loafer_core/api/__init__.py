"""What users and plugin authors see: messages, outcomes, errors, routes, and the contract with plugins.

Read ``message``, ``outcomes``, ``provider`` and ``components`` (the contract, sentence by sentence), then
``declarations``, ``hookspecs`` (what a plugin returns at start-up) and ``kinds`` (one table of all that a component can
be). Nothing here does anything: no I/O, no tasks.

Imports nothing else of the core.
"""
