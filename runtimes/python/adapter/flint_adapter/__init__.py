"""The adapter for Python: speaks the worker protocol (docs/protocol.md) and runs the user's function."""
