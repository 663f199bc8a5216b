"""The provider ``memory``: a queue in this process, for tests and examples, and the smallest complete provider.

Read ``provider``, then ``queue`` (the rules: leases, groups, delays, dead letters) and ``store`` (which messages there
are, and which of them are hidden now).

May import ``api``.
"""
