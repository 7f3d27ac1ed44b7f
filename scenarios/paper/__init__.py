"""The scenarios of the paper, as published."""
