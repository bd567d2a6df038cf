"""The pure heart: no socket, clock, file, randomness or environment; time is an argument."""
