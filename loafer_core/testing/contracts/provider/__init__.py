"""The provider contract, by subject: opening, receiving, settling, leases, order, stopping, and at work.

Read ``contract``, which puts them together, and ``checks``, what they have in common.

May import ``kit``, the options' contract and the core.
"""
