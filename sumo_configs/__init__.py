"""The SUMO configurations that come with trafficrl."""
