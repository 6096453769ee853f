"""The main job without a cluster: a pod is patched, and its agent's calls are decided."""
