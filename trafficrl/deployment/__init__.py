"""Trained policies outside of training: in any simulator, in a file, in a SUMO of somebody else."""

from trafficrl.deployment.policy import Action, Policy, load_policy

__all__ = ["Action", "Policy", "load_policy"]
