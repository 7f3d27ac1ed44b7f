"""Named functions with keyword parameters, as scenarios list them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

F = TypeVar("F", bound=Callable[..., object])


def positive(parameter: str) -> str:
    """The trait that a parameter should be above 0."""
    return f"{parameter} > 0"


class Registry(Generic[F]):
    """Names to functions or classes; their keyword-only arguments are the parameters."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._entries: dict[str, F] = {}
        self._traits: dict[str, frozenset[str]] = {}
        self._units: dict[str, str] = {}

    def register(self, name: str, *traits: str, unit: str = "") -> Callable[[F], F]:
        """Decorator that adds an entry under ``name``, with traits that others ask for.

        ``unit`` is that of its values, "1" for numbers without one.
        """

        def add(entry: F) -> F:
            if name in self._entries:
                raise ValueError(f"{self.what} '{name}' is registered twice")
            self._entries[name] = entry
            self._traits[name] = frozenset(traits)
            self._units[name] = unit
            return entry

        return add

    def has_trait(self, name: str, trait: str) -> bool:
        """Whether the entry was registered with the trait."""
        return trait in self._traits[name]

    def unit(self, name: str) -> str:
        """The unit of the entry's values, as it was registered."""
        return self._units[name]

    def __getitem__(self, name: str) -> F:
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def parameters(self, name: str) -> dict[str, inspect.Parameter]:
        """What a scenario can set of the entry."""
        return {
            key: parameter
            for key, parameter in inspect.signature(self[name]).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not key.startswith("_")
        }

    def check(self, name: str, parameters: Mapping[str, float]) -> None:
        """Raise ``ValueError`` unless ``name`` exists and takes ``parameters``."""
        if name not in self:
            raise ValueError(f"unknown {self.what} '{name}' (known: {', '.join(sorted(self))})")
        known = self.parameters(name)
        for key in parameters:
            if key not in known:
                takes = ", ".join(known) or "none"
                raise ValueError(f"{self.what} '{name}' has no parameter '{key}' (it has: {takes})")
            if self.has_trait(name, positive(key)) and not parameters[key] > 0:
                raise ValueError(
                    f"{self.what} '{name}': {key} is {parameters[key]:g} (should be more than 0)"
                )
        for key, parameter in known.items():
            if parameter.default is inspect.Parameter.empty and key not in parameters:
                raise ValueError(f"{self.what} '{name}' needs its parameter '{key}'")
