"""The certificates that the webhook serves, and the API server's trust in them."""
