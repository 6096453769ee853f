"""Asking humans in a Slack channel: a message each request, decided by reactions that are polled.

`channel_type` is what the product knows of it. Only `web` knows slack_sdk, and is imported where a
workflow needs it, as that takes memory and time.
"""
