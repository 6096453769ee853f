"""How fast the gate is, side by side with no gate, a plain proxy, and others: `make bench`."""
