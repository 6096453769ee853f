"""The admission webhooks: reviews over TLS, of pods and of ConfigMaps."""
