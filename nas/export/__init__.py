"""How a found architecture leaves: files that run without nas, verified before they are handed over."""
