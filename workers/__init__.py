"""How a candidate is evaluated: evaluators that measure, and executors that keep workers busy."""
