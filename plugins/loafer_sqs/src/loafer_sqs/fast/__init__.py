"""The two hot operations on a shorter way through the SDK (``client = "fast"``).

Read ``calls``, then ``request`` and ``answer`` (what is sent and read), and ``session`` and ``http`` (how it
travels).

May import nothing else of the plugin.
"""
