"""The Kubernetes API: one client, and an informer on it."""
