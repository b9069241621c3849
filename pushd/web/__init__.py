"""The web: HTTP and the websocket, as peers see them."""
