"""How the file of approvals can fail; apart from it, so that nobody loads sqlite3 for a name."""


class StoreUnavailable(Exception):
    """What was asked for cannot be written or read; the message says why, in one line."""
