"""What ``trafficrl bench`` measures; this folder installs as ``trafficrl.benchmarks``."""
