"""What the contracts are made with.

Read ``checks`` and ``verdict`` (what a check is, and what it can find), ``harness`` (what a plugin's author brings),
``driver`` (drives a provider as the core does), ``rig`` and ``component_rig`` (the test bench of one check) and
``watch`` (sees files, sockets and processes that code under test uses).

May import the core; knows no contract.
"""
