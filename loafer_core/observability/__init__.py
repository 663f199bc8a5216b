"""What Loafer tells about itself while it runs.

Read ``account`` (what became of every message) and ``observers`` (who watches, compiled into plain callables).

May import ``api`` and ``_tasks``.
"""
