"""Manifests in files, without a cluster."""
