"""One message at work: from the moment it is received until it is accounted for.

Read ``deliveries`` (what a route does with messages), ``in_flight`` (the owner of each, and its phases), ``groups``,
``pipeline`` (middlewares, translator, handler), ``handlers``, ``executors``, ``error_handlers``, ``settlement`` (what
an outcome asks of the source), ``settler`` (telling it), ``leases``, then ``ledger``, ``breaker``, ``emptiness`` and
``durations``.

May import ``config``, ``memory``, ``observability``, ``api`` and ``_tasks``; it knows no route's beginning or end.
"""
