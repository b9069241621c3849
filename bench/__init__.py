"""Measures what one core of a pushd server can do, and what a message costs it."""
