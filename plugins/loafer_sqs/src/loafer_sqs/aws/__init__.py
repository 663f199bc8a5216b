"""AWS as the plugin needs it: connections, errors, clocks, queues, topics, and requests in batches.

Read ``client`` (what the routes share), ``connecting`` (how it is made), ``errors`` (what AWS's words mean here),
then ``queues``, ``topics``, ``batches`` and ``outbox`` (sending under load).

May import ``messages``, ``fast`` and ``options``.
"""
