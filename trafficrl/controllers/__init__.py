"""Classical controllers: vehicle states to accelerations, one file each."""

from trafficrl.controllers.acc import ACC
from trafficrl.controllers.base import CONTROLLERS, Controller, make_controller
from trafficrl.controllers.cacc import CACC
from trafficrl.controllers.follower_stopper import FollowerStopper
from trafficrl.controllers.gipps import Gipps
from trafficrl.controllers.idm import IDM
from trafficrl.controllers.lead import Lead
from trafficrl.controllers.ovm import OVM
from trafficrl.controllers.pi_saturation import PISaturation
from trafficrl.controllers.ploeg import Ploeg
from trafficrl.controllers.sumo_models import SumoModel

__all__ = [
    "ACC",
    "CACC",
    "CONTROLLERS",
    "IDM",
    "OVM",
    "Controller",
    "FollowerStopper",
    "Gipps",
    "Lead",
    "PISaturation",
    "Ploeg",
    "SumoModel",
    "make_controller",
]
