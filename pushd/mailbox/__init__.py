"""Mailboxes: the ordered unread messages of each identity, on Redis or Valkey."""
