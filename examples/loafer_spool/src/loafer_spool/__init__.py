"""A durable queue in an SQLite file: the provider ``spool`` and a handler of the same name."""

__version__ = "0.1.0"
