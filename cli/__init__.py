"""The command ``trafficrl``: thin Click commands that parse, call and print."""
