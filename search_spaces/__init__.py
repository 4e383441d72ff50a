"""What can be built: operations, graphs, and search spaces as functions from choices to architectures."""
