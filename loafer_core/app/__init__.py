"""Puts everything together, starts it and stops it: the only room that knows both routes at work and plugins.

Read ``manager`` (the way in), ``resolve`` and ``build`` (from names to components), ``session`` (one run) and
``runner`` (event loop and signals).

May import every room but ``cli`` and ``testing``.
"""
