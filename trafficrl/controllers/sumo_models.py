"""SUMO's own car-following models: vehicles that are left to SUMO.

The models, their sources and attributes are described in SUMO's documentation, "Definition of
Vehicles, Vehicle Types, and Routes".
"""

from __future__ import annotations

from inspect import Parameter, Signature

import numpy as np

from trafficrl.controllers.base import (
    CONTROLLERS,
    Controller,
    require_not_negative,
    require_positive,
)
from trafficrl.types import FloatArray, VehicleStates, VehicleType

POSITIVE = ("accel", "decel", "emergencyDecel", "apparentDecel", "maxSpeed", "speedFactor", "tau")
COMMON = (*POSITIVE, "minGap", "sigma")
# What SUMO silently ignores in other models: each model's own attributes.
MODELS = {
    "Krauss": (),
    "IDM": ("delta", "stepping"),
    "IDMM": ("stepping", "adaptFactor", "adaptTime"),
    "EIDM": (
        *("delta", "stepping", "tpreview", "tPersDrive", "tPersEstimate", "treaction", "ccoolness"),
        *("sigmaleader", "sigmagap", "sigmaerror", "jerkmax", "epsilonacc", "taccmax"),
        *("Mflatness", "Mbegin", "maxvehpreview", "vehdynamics"),
    ),
    "ACC": (
        *("speedControlGain", "gapClosingControlGainSpeed", "gapClosingControlGainSpace"),
        *("gapControlGainSpeed", "gapControlGainSpace"),
        *("collisionAvoidanceGainSpeed", "collisionAvoidanceGainSpace"),
    ),
    "CACC": (
        *("speedControlGainCACC", "gapClosingControlGainGap", "gapClosingControlGainGapDot"),
        *("gapControlGainGap", "gapControlGainGapDot", "tauCACCToACC", "speedControlMinGap"),
        *("collisionAvoidanceGainGap", "collisionAvoidanceGainGapDot"),
    ),
    "W99": ("cc1", "cc2", "cc3", "cc4", "cc5", "cc6", "cc7", "cc8", "cc9"),
    "Wiedemann": ("security", "estimation"),
}
# Where SUMO's default is to draw random numbers, which a reset would not begin anew.
WITHOUT_NOISE = {"EIDM": {"sigmaleader": 0.0, "sigmagap": 0.0, "sigmaerror": 0.0}}


class SumoModel(Controller):
    """No command at all: the vehicle gets the model's vType, and SUMO drives under its whole law.

    ``length``, ``minGap``, ``tau`` and ``maxSpeed`` are the scenario's, ``sigma`` is 0 and the
    others are SUMO's, unless a parameter, named as the attribute of the vType, says otherwise.
    """

    model: str

    def __init__(self, **attributes: float) -> None:
        require_positive(**{key: attributes[key] for key in POSITIVE if key in attributes})
        require_not_negative(
            **{key: attributes[key] for key in ("minGap", "sigma") if key in attributes}
        )
        if attributes.get("sigma", 0.0) > 1:
            raise ValueError(f"sigma is {attributes['sigma']:g} (should be 0 to 1)")
        fixed = WITHOUT_NOISE.get(self.model, {})
        self.vehicle_type: VehicleType = {"carFollowModel": self.model, **fixed, **attributes}

    def acceleration(self, states: VehicleStates, step: float) -> FloatArray:
        """NaN (B, M): SUMO decides."""
        return np.full(states.speed.shape, np.nan)


def _register(name: str, own: tuple[str, ...]) -> None:
    keys = [Parameter(key, Parameter.KEYWORD_ONLY, default=None) for key in (*COMMON, *own)]
    members = {"model": name, "__signature__": Signature(keys)}
    CONTROLLERS.register(f"sumo:{name}")(type(f"Sumo{name}", (SumoModel,), members))


for _name, _own in MODELS.items():
    _register(_name, _own)
