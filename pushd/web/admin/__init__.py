"""The operator's page: what a server is doing, for whoever has the admin token."""
