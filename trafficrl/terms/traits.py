"""What a feature or a reward term may demand of its scenario."""

NEEDS_LEAD = "needs_lead"  # compares with the speed profile of a scripted lead
WRAPS = "wraps"  # jumps from 1 to 0 where a lap ends
OWN_NETWORK = "own_network"  # means something on the network of the training alone
