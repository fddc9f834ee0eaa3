"""Fields that were put right since: a verb that takes a field by default says that there is a newer one.

`clean` and `prepare` leave the field that they read as it is. A default stays what it is, so that a
command means the same whatever was run before; what it leaves aside is said.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from tim3d.errors import StoreError
from tim3d.storage import store
from tim3d.verbs import option_of

log = logging.getLogger(__name__)
Records: TypeAlias = Mapping[str, Mapping[str, Any]]

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
    taken = {
        name: defaults[name].default for name in READ if name in defaults and name not in arguments
    }
    if not any(taken.values()):  # the verb takes what it finds, or what it is given
        return
    for sample in _samples(arguments):
        records = _records(sample)
        for name, field in taken.items():
            if newer := sorted(set(_newest(records, field))):
                option, makers = option_of(name), sorted({records[one]["verb"] for one in newer})
                log.warning(
                    "%s takes the field %r of %s; %s made from it by %s and not used. Type  %s %s  to take %s, or  "
                    "%s %s  if %r is meant",
                    verb, field, sample, _were(newer), " and ".join(makers),
                    option, newer[-1], "it" if len(newer) == 1 else "the last", option, field, field,
                )  # fmt: skip


def _were(names: Sequence[str]) -> str:
    """Names as the subject of a sentence.

    >>> _were(["cleaned"]), _were(["a", "b", "c"])
    ("'cleaned' was", "'a', 'b' and 'c' were")
    """
    *first, last = map(repr, names)
    return f"{', '.join(first)} and {last} were" if first else f"{last} was"


def newer_fields(sample: str, field: str) -> list[str]:
    """Finished fields that `clean` or `prepare` made from the present version of a field.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    field : str
        Name of the field.
    """
    return list(_newer(_records(sample), field))


def _newer(records: Records, field: str) -> Iterator[str]:
    if not (fingerprint := records.get(field, {}).get("fingerprint")):
        return
    for name, record in records.items():
        if (
            record.get("verb") in PUT_RIGHT
            and (record.get("kind"), record.get("status")) == ("field", "complete")
            and not record.get("intermediate")
            and record.get("inputs", {}).get(field) == fingerprint
        ):
            yield name


def _newest(records: Records, field: str) -> Iterator[str]:
    """Fields at the ends of all chains of corrections that begin with a field."""
    for name in _newer(records, field):
        later = list(_newest(records, name))
        yield from later or [name]


def _records(sample: str) -> Records:
    """Record of every node, but of those that are damaged: they may be about to be made again."""
    found = {}
    for name in store.nodes(sample):
        with contextlib.suppress(StoreError):
            found[name] = store.node_attributes(sample, name)
    return found


def _samples(arguments: Mapping[str, Any]) -> list[str]:
    """The sample of a verb, or those among its samples that are not tables."""
    if "sample" in arguments:
        return [str(arguments["sample"])]
    given = arguments.get("samples", ())
    listed = [given] if isinstance(given, str) else map(str, given)
    return [
        one for one in listed if not one.endswith((".csv", ".parquet")) and store.is_sample(one)
    ]
