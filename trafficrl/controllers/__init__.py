"""Classical controllers: vehicle states to accelerations, one file each."""

from trafficrl.controllers.base import CONTROLLERS, Controller, make_controller
from trafficrl.controllers.idm import IDM
from trafficrl.controllers.lead import Lead
from trafficrl.controllers.ovm import OVM

__all__ = ["CONTROLLERS", "IDM", "OVM", "Controller", "Lead", "make_controller"]
