"""Names of the phases of a material, and their integer codes in a volume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tim3d.errors import ArgumentError


class Phases(Mapping[str, int]):
    """Mapping from the name of each phase to its code, in the order of the codes.

    Verbs take a plain dict in its place: ``phases={"pore": 0, "solid": 1}``.

    Parameters
    ----------
    **codes : int
        Code of each name, from 0 to 255.

    Raises
    ------
    ArgumentError
        If no phase is given, a code is not a whole number, is out of range or occurs twice, or a
        name is not a plain word.

    Examples
    --------
    >>> phases = Phases(solid=1, pore=0)
    >>> phases
    Phases(pore=0, solid=1)
    >>> phases["solid"], phases.names
    (1, ('pore', 'solid'))
    >>> Phases.parse("pore=0,solid=1") == phases
    True
    """

    def __init__(self, **codes: int) -> None:
        if not codes:
            raise ArgumentError("no phases given: name at least one, for example pore=0,solid=1")
        for name, code in codes.items():
            _check(name, code)
        if len(set(codes.values())) < len(codes):
            raise ArgumentError(f"two phases share a code: {codes}; give each phase its own")
        self._written = tuple(codes)
        self._codes = {
            name: int(code) for name, code in sorted(codes.items(), key=lambda item: item[1])
        }

    @classmethod
    def parse(cls, text: str) -> Phases:
        """Parse `name=code` pairs separated by commas."""
        codes: dict[str, int] = {}
        for pair in text.split(","):
            name, _, code = pair.partition("=")
            if not code.strip().isdecimal():
                raise ArgumentError(
                    f"phase {pair!r} is not of the form name=code; write for example pore=0,solid=1"
                )
            if name.strip() in codes:
                raise ArgumentError(f"phase {name.strip()!r} is named twice in {text!r}")
            codes[name.strip()] = int(code)
        return cls(**codes)

    @classmethod
    def none(cls) -> Phases:
        """Return an empty mapping, for a field without labels."""
        empty = cls.__new__(cls)
        empty._written, empty._codes = (), {}
        return empty

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of their codes."""
        return tuple(self._codes)

    @property
    def codes(self) -> tuple[int, ...]:
        """Codes in ascending order."""
        return tuple(self._codes.values())

    def require_order(self, first: str) -> None:
        """Raise if the names were not written in the order of their codes.

        To be called where the order assigns a meaning to the phases.

        Parameters
        ----------
        first : str
            Meaning of the first phase, for the message: "the darkest".

        Raises
        ------
        ArgumentError
            If the orders differ; the message contains both readings.

        Examples
        --------
        >>> Phases(pore=0, solid=1).require_order("the darkest")
        >>> Phases(pore=5, solid=2).require_order("the darkest")
        Traceback (most recent call last):
        ...
        tim3d.errors.ArgumentError: phases pore=5,solid=2 can be read in two ways: the darkest is
        'pore' by the order of the names and 'solid' by the order of the codes. Let the codes rise:
        --phases pore=2,solid=5 or solid=2,pore=5
        """
        if self._written == self.names:
            return
        raise ArgumentError(
            f"phases {self._text(self._written)} can be read in two ways: {first} is {self._written[0]!r} by the order "
            f"of the names and {self.names[0]!r} by the order of the codes. Let the codes rise: "
            f"--phases {self._text(self._written, self.codes)} or {self._text(self.names)}"
        )

    def _text(self, names: tuple[str, ...], codes: tuple[int, ...] | None = None) -> str:
        """Format phases as they are typed in the shell."""
        codes = tuple(self[name] for name in names) if codes is None else codes
        return ",".join(f"{name}={code}" for name, code in zip(names, codes, strict=True))

    def __getitem__(self, name: str) -> int:
        return self._codes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._codes)

    def __len__(self) -> int:
        return len(self._codes)

    def __hash__(self) -> int:
        return hash(tuple(self._codes.items()))

    def __repr__(self) -> str:
        return f"Phases({', '.join(f'{name}={code}' for name, code in self._codes.items())})"

    def __str__(self) -> str:
        """As it is typed, ``pore=0,solid=1``."""
        return ",".join(f"{name}={code}" for name, code in self._codes.items())


def _check(name: str, code: int) -> None:
    if isinstance(code, bool) or not hasattr(code, "__index__"):
        raise ArgumentError(
            f"phase {name!r} has code {code!r}; codes are whole numbers from 0 to 255"
        )
    if not name.replace("-", "_").isidentifier():
        raise ArgumentError(f"phase name {name!r} is not a word of letters, digits and underscores")
    if not 0 <= code <= 255:
        raise ArgumentError(f"phase {name!r} has code {code}; codes are 0 to 255")
