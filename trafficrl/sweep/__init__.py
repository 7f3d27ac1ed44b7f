"""Many trainings of one scenario: a search over its keys, each point with several seeds."""
