"""The provider ``memory``: a queue in this process, for tests and examples, and the smallest complete provider.

Read ``provider``, then ``queue`` (the rules: leases, groups, delays, dead letters) and ``store`` (what it holds, by
the clock).

May import ``api``.
"""
