"""The memory of fixed slots: selectors, gates and what can be done with a slot."""
