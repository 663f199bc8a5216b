"""Routes at work: opening, receiving, and the way back when they stop.

Read ``dispatcher`` (all routes), ``consumer`` (one route), ``receiver`` (when to ask the source for more),
``shutdown`` (until when each phase of a stop may take) and ``resources`` (what is opened and closed); ``watchdog``
tells of silence.

May import ``delivery`` and what lies below it; it knows no plugin, no configuration file and no signal.
"""
