"""Kraken's WebSocket API at the command line, from any shell or language."""

__version__ = "0.1.0"
