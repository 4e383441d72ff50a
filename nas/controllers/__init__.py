"""Who proposes architectures: one file a method, all behind the contract in `controller`."""
