"""What scenarios list by name: observation features and reward terms."""

from trafficrl.terms.observations import FEATURES
from trafficrl.terms.rewards import COLLISION, REWARD_TERMS
from trafficrl.terms.traits import NEEDS_LEAD, OWN_NETWORK, WRAPS

__all__ = ["COLLISION", "FEATURES", "NEEDS_LEAD", "OWN_NETWORK", "REWARD_TERMS", "WRAPS"]
