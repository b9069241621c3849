"""Names made certain: who is meant by a name, with which key, and where to write."""
