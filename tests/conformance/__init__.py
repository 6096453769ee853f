"""Nothing is lost in between: the official conformance suite and real clients, with and without."""
