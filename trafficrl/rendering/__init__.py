"""Episodes as they are seen: in sumo-gui, and as video of it without a screen."""

from trafficrl.rendering.colours import QUANTITIES
from trafficrl.rendering.display import display
from trafficrl.rendering.replay import Scene, replay
from trafficrl.rendering.video import Film, film_file, frame_folder, pace

__all__ = ["QUANTITIES", "Film", "Scene", "display", "film_file", "frame_folder", "pace", "replay"]
