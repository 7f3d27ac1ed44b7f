"""Ray clusters: how a program gets into one."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import signal
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from trafficrl.errors import TrafficRLError

PREFIX = "ray://"
REACHABLE_WITHIN = 10.0  # s for a host to take a connection
ADDRESS = re.compile(r"(?:\[([^\]\s]+)\]|([^:/\s]+)):(\d{1,5})")  # [..] for version 6 of IP
CHOOSE = "choose one by RAY_ADDRESS=HOST:PORT in the environment"
HOW = "ray://auto on a machine of the cluster, ray://HOST:10001 elsewhere"


@contextmanager
def connect(address: str) -> Iterator[None]:
    """Be in the cluster at ``ray://auto`` or ``ray://HOST:PORT``; Ray's own output is kept back.

    The first is the cluster that this machine belongs to (RAY_ADDRESS chooses one of several),
    the second that of a Ray Client server. Inside, ``import ray`` is connected. Raises
    ``TrafficRLError`` where that cannot be: without Ray, a cluster, or the cluster's versions.
    """
    where = address.removeprefix(PREFIX)
    if not is_address(address):
        raise TrafficRLError(f"{address}: is no address of a cluster (give {HOW})")
    if importlib.util.find_spec("ray") is None:
        raise TrafficRLError(f"{address}: Ray is not installed (pip install 'trafficrl[ray]')")
    # Before Ray's libraries load: one thinks aloud on stderr otherwise.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        import ray
        import ray._private.worker as worker
        from ray._private.services import find_gcs_addresses, get_ray_address_from_environment
    except ImportError as error:
        raise TrafficRLError(
            f"{address}: this Ray does not fit ({error}; pip install 'trafficrl[ray]')"
        ) from None
    if ray.is_initialized():
        raise TrafficRLError(f"{address}: this process is in a cluster already (leave it first)")

    logging.getLogger("ray").setLevel(logging.ERROR)
    # Prints the cluster's troubles to stdout, whatever log_to_driver says.
    worker.print_to_stdstream = lambda *data, **options: None
    handler = signal.getsignal(signal.SIGTERM)
    shown, found = address, where
    try:
        if where == "auto":
            chosen = os.environ.get("RAY_ADDRESS", "").removeprefix("auto")
            several = sorted(find_gcs_addresses())  # type: ignore[no-untyped-call]
            if not chosen and len(several) > 1:
                raise TrafficRLError(f"this machine is in several ({', '.join(several)}; {CHOOSE})")
            found = get_ray_address_from_environment("auto", None)
            shown = f"{address} ({'RAY_ADDRESS=' if chosen else ''}{found})"
        # Ray itself waits for minutes for a cluster of which only the address is left.
        with socket.create_connection(_host_and_port(found), REACHABLE_WITHIN):
            pass
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(
                "auto" if where == "auto" else address,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
    except Exception as error:
        ray.shutdown()  # of what has begun: the next attempt would fail by it
        raise TrafficRLError(f"{shown}: {_reason(error)}") from None
    finally:
        if signal.getsignal(signal.SIGTERM) is not handler:  # Ray has one of its own
            signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        ray.shutdown()


def is_address(text: str) -> bool:
    """Whether ``text`` reads ``ray://auto`` or ``ray://HOST:PORT``."""
    where = text.removeprefix(PREFIX)
    return where != text and (where == "auto" or ADDRESS.fullmatch(where) is not None)


def _host_and_port(text: str) -> tuple[str, int]:
    parts = ADDRESS.fullmatch(text.removeprefix(PREFIX))
    if parts is None:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return parts[1] or parts[2], int(parts[3])


def _reason(error: Exception) -> str:
    """Why there is no connection, on one line."""
    if isinstance(error, TrafficRLError):
        return str(error)
    lines = str(error).splitlines()
    if any("Traceback" in line for line in lines):  # of the cluster's; the error ends it
        lines = [line for line in lines if line.strip()][-1:]
    said = " ".join(" ".join(lines).split())
    if "mismatch" in said:
        return f"has other versions than this machine ({said})"
    if isinstance(error, OSError) and error.errno is not None:
        wrong = f"cannot be reached ({error.strerror})"
    elif "ould not find any running Ray" in said:
        wrong = "no cluster runs on this machine"
    else:
        wrong = f"gives no connection ({said or type(error).__name__})"
    return f"{wrong}; give {HOW}"
