"""Values and decisions of the injector: no I/O, clock, randomness or event loop."""
