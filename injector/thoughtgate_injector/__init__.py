"""The injector: patches opted-in pods with the ThoughtGate sidecar."""
