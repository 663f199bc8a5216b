"""The ``json`` translator for Loafer."""

__version__ = "0.1.0"
