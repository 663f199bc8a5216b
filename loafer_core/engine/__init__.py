"""Routes at work: opening, receiving, and the way back when they stop.

Read ``dispatcher`` (all routes), ``consumer`` (one route), ``receiver`` (when to ask the source for more),
``backoff``, ``shutdown`` (the steps of a stop), ``resources`` (what is opened and closed) and ``provider_context``;
``watchdog`` and ``loop_monitor`` tell of silence.

May import ``delivery`` and what lies below it; it knows no plugin, no configuration file and no signal.
"""
