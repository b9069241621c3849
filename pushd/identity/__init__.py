"""Who speaks, pure: keys and the DIDs that name them, tokens, and sealed payloads.

Nothing here does I/O, reads a clock or logs: `now` is an argument. Randomness is drawn
from `secrets`, for new keys in `keys.py` and for one-time keys in `ecies.py`.
"""
