"""The demo: a server, and beside it a Gaia hub and two people, to see what passes through.

What it shows it hears as one more listener of its hub, so that the demo sees what every
session sees, and no more.
"""
