"""The watchdog: opted-in pods without today's sidecar."""
