"""A real one-node Kubernetes for the tests and for `make cluster`."""
