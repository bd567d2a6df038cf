"""Sockets and clocks."""
