"""What Loafer tells about itself while it runs.

Read ``account`` (what became of every message), ``health`` (how a run is now), ``observers`` (who watches, compiled
into plain callables) and ``logs`` (how records are written).

May import ``api`` and ``_tasks``.
"""
