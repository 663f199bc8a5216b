"""What the contracts are made with: checks and their advice, rigs that drive a component, eyes on the outside world.

Read ``checks`` (what a check is), ``harness`` (what a plugin's author brings), ``rig`` and ``component_rig`` (who
drives).

May import the core; knows no contract.
"""
