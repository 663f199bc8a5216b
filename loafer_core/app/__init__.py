"""Puts everything together, starts it and stops it. No other room knows both the routes at work and the plugins.

Read ``manager`` (which begins it all), ``resolve`` and ``build`` (from names to components), ``session`` (one run of
the routes) and ``runner`` (event loop and signals).

May import every room but ``cli`` and ``testing``.
"""
