"""The playground: a page on which Alice writes to Bob, seen from all sides."""
