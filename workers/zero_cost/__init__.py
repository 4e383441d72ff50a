"""Zero-cost proxies: scores of an untrained network, from one batch or none, that guess how good it will be."""
