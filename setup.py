"""Installs the top-level folders beside the package as parts of it.

``benchmarks/``, ``cli/``, ``scenarios/`` and ``sumo_configs/`` stand at the root, where
they are easy to find, and install as ``trafficrl.cli`` and so on. Everything else is in
pyproject.toml.
"""

from setuptools import find_packages, setup

MAPPED = {
    "trafficrl.benchmarks": "benchmarks",
    "trafficrl.cli": "cli",
    "trafficrl.scenarios": "scenarios",
    "trafficrl.sumo_configs": "sumo_configs",
}

setup(
    packages=[*find_packages(include=["trafficrl", "trafficrl.*"]), *MAPPED],
    package_dir=MAPPED,
    package_data={
        "trafficrl.benchmarks": ["*.cpp", "*.yaml"],
        "trafficrl.reporting": ["*.j2"],
        "trafficrl.scenarios": ["**/*.yaml"],
        "trafficrl.sumo_configs": ["**/*.xml", "**/*.sumocfg", "**/*.netccfg"],
    },
)
