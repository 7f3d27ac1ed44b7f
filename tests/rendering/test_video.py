"""Films hold the pictures that they were given, or there is no file."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import numpy as np
import pytest

from trafficrl.errors import TrafficRLError
from trafficrl.rendering import film_file, frame_folder, pace

imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="the extra 'video' is not installed")


def picture(shade: float, size: tuple[int, int] = (63, 47)) -> bytes:
    """A PNG of one grey; its sides are odd."""
    from matplotlib.image import imsave

    file = io.BytesIO()
    imsave(file, np.full((size[1], size[0], 3), shade), format="png")
    return file.getvalue()


def frames(path: Path) -> list[float]:
    """The mean shade of each frame of a film."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", str(path)]
    raw = ["-f", "rawvideo", "-pix_fmt", "gray", "-vf", "scale=8:8", "-"]
    done = subprocess.run([*command, *raw], capture_output=True, check=True)
    return list(np.frombuffer(done.stdout, np.uint8).reshape(-1, 64).mean(axis=1) / 255.0)


@pytest.mark.parametrize(
    ("step", "speed", "every", "fps"),
    [(0.1, 5.0, 2, 25.0), (0.1, 6.0, 2, 30.0), (0.1, 1.0, 1, 10.0), (1.0, 0.5, 1, 0.5)],
)
def test_a_video_takes_the_time_it_should(
    step: float, speed: float, every: int, fps: float
) -> None:
    """About 25 pictures a second, each of a whole step."""
    assert pace(step, speed) == pytest.approx((every, fps))


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_a_film_shows_its_pictures_in_their_order(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film{suffix}"
    shades = [0.2, 0.4, 0.6, 0.8]
    with film_file(path, fps=10.0) as film:
        for shade in shades:
            film(picture(shade))
    # The column and the row that make the sides even are white.
    assert frames(path) == pytest.approx(shades, abs=0.1)


def test_a_film_that_fails_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with pytest.raises(KeyError), film_file(path, fps=10.0) as film:
        film(picture(0.5))
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_picture_is_said_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with (
        pytest.raises(TrafficRLError, match="ffmpeg makes no video") as raised,
        film_file(path, fps=10.0) as film,
    ):
        film(b"nothing of the kind")
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrafficRLError, match=r"\.mp4, \.gif, not '\.avi'"):
        film_file(tmp_path / "film.avi", fps=10.0)


def test_frames_are_numbered_and_a_full_folder_is_kept_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    with frame_folder(folder) as film:
        film(picture(0.1))
        film(picture(0.2))
    assert [file.name for file in sorted(folder.iterdir())] == ["00000.png", "00001.png"]
    with pytest.raises(TrafficRLError, match="not empty"), frame_folder(folder):
        pass
