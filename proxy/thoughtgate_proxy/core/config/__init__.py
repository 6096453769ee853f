"""The configuration: its values, its strict reading, and the Cedar policies that go with it.

Pure: bytes and the environment come in, a `Config` or every mistake comes out. Files are read by
`thoughtgate_proxy.runtime.config_loader`.
"""
