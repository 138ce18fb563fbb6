"""Ground: what everything else stands on."""

__version__ = "0.1.0"
