"""The protocol, pure: what is said on the wire, and both halves of a session.

Nothing here does I/O, reads a clock, draws randomness or logs: events come in, commands
go out, and `now` is an argument.
"""
