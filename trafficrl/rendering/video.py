"""Pictures that follow one another, as a video file or a folder."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.files import output_directory, output_file

Film = Callable[[bytes], None]
"""Takes the next picture, a PNG."""

EVEN = "pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white"  # H.264 with this colour format needs it
CODECS = {
    ".mp4": ["-vf", EVEN, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "18",
             "-movflags", "+faststart", "-f", "mp4"],
    ".gif": ["-filter_complex", "split[a][b];[a]palettegen[p];[b][p]paletteuse", "-f", "gif"],
}  # fmt: skip


FPS = 25.0  # of videos, about: pictures are of whole simulation steps


def pace(step: float, speed: float) -> tuple[int, float]:
    """Simulation steps of ``step`` s from one picture to the next, and pictures a second.

    ``speed`` is how many seconds of traffic are in one of the video.
    """
    every = max(1, round(speed / (FPS * step)))
    return every, speed / (step * every)


def film_file(path: Path, fps: float) -> AbstractContextManager[Film]:
    """Opens to a film that becomes a video file, .mp4 or .gif, when all went well.

    Raises ``TrafficRLError`` for another suffix, and without ffmpeg (the extra 'video').
    """
    codec = CODECS.get(path.suffix.lower())
    if codec is None:
        raise TrafficRLError(
            f"{path}: videos are written to files that end in {', '.join(CODECS)}, "
            f"not '{path.suffix}'"
        )
    return _encoded(path, fps, codec)


@contextmanager
def frame_folder(path: Path) -> Iterator[Film]:
    """Opens to a film of numbered PNG files in a folder, which has to be new or empty."""
    pictures: list[Path] = []

    def add(picture: bytes) -> None:
        pictures.append(path / f"{len(pictures):05d}.png")
        pictures[-1].write_bytes(picture)

    with output_directory(path):
        if any(path.iterdir()):
            raise TrafficRLError(f"{path}: not empty (choose another folder for the pictures)")
        try:
            yield add
        except BaseException:
            for picture in pictures:
                picture.unlink(missing_ok=True)
            raise


@contextmanager
def _encoded(path: Path, fps: float, codec: list[str]) -> Iterator[Film]:
    source = ["-f", "image2pipe", "-c:v", "png", "-framerate", f"{fps:g}", "-i", "-"]
    program = _ffmpeg()
    with (
        output_file(path, binary=True) as stream,
        tempfile.TemporaryDirectory(prefix="trafficrl-film-") as folder,
        tempfile.TemporaryFile() as messages,
    ):
        encoded = Path(folder) / "film"  # ffmpeg goes back in a file to finish it
        command = [program, "-loglevel", "error", "-y", *source, *codec, str(encoded)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=messages) as encoder:
            pictures = encoder.stdin
            assert pictures is not None

            def add(picture: bytes) -> None:
                pictures.write(picture)

            try:
                yield add
                pictures.close()
            except BrokenPipeError:
                pass  # it has ended early, and says why
            except BaseException:
                encoder.kill()
                raise
        if encoder.returncode != 0:
            messages.seek(0)
            lines = messages.read().decode(errors="replace").strip().splitlines() or ["no message"]
            raise TrafficRLError(f"{path}: ffmpeg makes no video of the pictures: {lines[0]}")
        with encoded.open("rb") as film:
            shutil.copyfileobj(film, stream)


def _ffmpeg() -> str:
    try:
        import imageio_ffmpeg
    except ImportError:
        program = shutil.which("ffmpeg")
        if program is None:
            raise TrafficRLError(
                "--video: ffmpeg is not installed (pip install 'trafficrl[video]', or --frames "
                "for single pictures)"
            ) from None
        return program
    return str(imageio_ffmpeg.get_ffmpeg_exe())
