"""Networks of all agents at once: one layer holds the weights of every agent."""
