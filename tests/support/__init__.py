"""What tests stand on: scripted servers on loopback, and the command as a user runs it."""
