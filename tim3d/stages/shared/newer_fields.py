"""Fields that were put right since: a verb that takes a field by default says that there is a newer one.

`clean` and `prepare` leave the field that they read as it is. A default stays what it is, so that a
command means the same whatever was run before; what it leaves aside is said.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tim3d.errors import StoreError
from tim3d.storage import store
from tim3d.verbs import option_of

log = logging.getLogger(__name__)

# Verbs whose field is another one put right, and parameters of verbs that name a field to read.
PUT_RIGHT = ("clean", "prepare")
READ = ("raw", "field", "labels")
# Verbs to which a newer field does not matter: they make it, or make the field that it is made from.
NOT_ASKED = (*PUT_RIGHT, "ingest")


def say_newer(verb: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Warn of every field that a call takes by default although a newer one was made from it.

    Parameters
    ----------
    verb : str
        Name of the verb.
    function : callable
        Its function, whose signature has the defaults.
    arguments : mapping of str to object
        Arguments that were given.
    """
    if verb in NOT_ASKED:
        return
    defaults = inspect.signature(function).parameters
    for name in (one for one in READ if one in defaults and one not in arguments):
        if (taken := defaults[name].default) is None:  # the verb takes what it finds
            continue
        for sample in _samples(arguments):
            if newer := sorted(set(_newest(sample, taken))):
                option = option_of(name)
                log.warning(
                    "%s takes the field %r of %s; %s made from it by %s and not used. Type  %s %s  to take %s, or  "
                    "%s %s  if %r is meant",
                    verb, taken, sample, _were(newer), _verbs(sample, newer),
                    option, newer[-1], "it" if len(newer) == 1 else "the last", option, taken, taken,
                )  # fmt: skip


def _were(names: Sequence[str]) -> str:
    """Names as the subject of a sentence.

    >>> _were(["cleaned"]), _were(["a", "b", "c"])
    ("'cleaned' was", "'a', 'b' and 'c' were")
    """
    *first, last = map(repr, names)
    return f"{', '.join(first)} and {last} were" if first else f"{last} was"


def _verbs(sample: str, names: Sequence[str]) -> str:
    return " and ".join(sorted({store.node_attributes(sample, one)["verb"] for one in names}))


def newer_fields(sample: str, field: str) -> list[str]:
    """Finished fields that `clean` or `prepare` made from the present version of a field.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    field : str
        Name of the field.
    """
    fingerprint = _record(sample, field).get("fingerprint")
    if not fingerprint:
        return []
    found = ((name, _record(sample, name)) for name in store.nodes(sample))
    return [
        name
        for name, record in found
        if record.get("verb") in PUT_RIGHT
        and (record.get("kind"), record.get("status")) == ("field", "complete")
        and not record.get("intermediate")
        and record.get("inputs", {}).get(field) == fingerprint
    ]


def _record(sample: str, name: str) -> Mapping[str, Any]:
    """Record of a node; empty if it is damaged, as it may be about to be made again."""
    try:
        return store.node_attributes(sample, name)
    except StoreError:
        return {}


def _newest(sample: str, field: str) -> Iterator[str]:
    """Fields at the ends of all chains of corrections that begin with a field."""
    for name in newer_fields(sample, field):
        later = list(_newest(sample, name))
        yield from later or [name]


def _samples(arguments: Mapping[str, Any]) -> list[str]:
    """The sample of a verb, or those among its samples that are not tables."""
    if "sample" in arguments:
        return [str(arguments["sample"])]
    given = arguments.get("samples", ())
    listed = [given] if isinstance(given, str) else map(str, given)
    return [
        one for one in listed if not one.endswith((".csv", ".parquet")) and store.is_sample(one)
    ]
