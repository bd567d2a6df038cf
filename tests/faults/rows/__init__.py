"""The rows of the fault matrix, a module for each part of it."""
