"""Pictures: each a function from data to a matplotlib figure (extra 'plot')."""

from trafficrl.plots.files import picture_files
from trafficrl.plots.heat_map import heat_map
from trafficrl.plots.horizon import horizon_error
from trafficrl.plots.learning import learning_curves
from trafficrl.plots.model_error import model_error
from trafficrl.plots.time_space import find_route, time_space
from trafficrl.plots.vehicle_graph import vehicle_graph
from trafficrl.plots.vehicles import vehicle_series

__all__ = [
    "find_route",
    "heat_map",
    "horizon_error",
    "learning_curves",
    "model_error",
    "picture_files",
    "time_space",
    "vehicle_graph",
    "vehicle_series",
]
