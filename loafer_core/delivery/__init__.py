"""One message at work: from the moment it is received until it is accounted for.

Read ``deliveries`` (slots, groups, what takes a message away), ``pipeline`` (middlewares, translator, handler),
``error_handlers``, ``settlement`` (what an outcome asks of the source), ``settler`` (telling it) and ``leases``.

May import ``config``, ``memory``, ``observability``, ``api`` and ``_tasks``; it knows no route's beginning or end.
"""
