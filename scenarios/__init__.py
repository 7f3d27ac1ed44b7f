"""The scenarios that come with trafficrl."""
