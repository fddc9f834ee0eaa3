"""Steps of a recipe that are done for each of several samples.

The table ``[each]`` names the samples, with what differs between them under the names of steps. A
step with ``each = true`` is done for all of them; ``{each}`` in its texts is the name of the sample.
In a list of another step, a text with ``{each}`` stands for all samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tim3d.errors import ArgumentError
from tim3d.spelling import suggestion

NAME = "{each}"


def check_each(content: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Refuse a table ``[each]`` and steps that do not fit together.

    Raises
    ------
    ArgumentError
        If an entry is not a table, names a step that is not done for each, or is not used at all.
    """
    names = [s["name"] for s in steps if s.get("each", False)]
    for step in steps:
        if not isinstance(step.get("each", False), bool):
            raise ArgumentError(
                f"recipe {path}: step {step['name']!r} has each = {step['each']!r}; "
                f"it is true or false"
            )
    entries = content.get("each", {})
    if bool(names) != bool(entries):
        missing = "no step has  each = true" if entries else "there is no table [each]"
        raise ArgumentError(f"recipe {path}: [each] and  each = true  go together, and {missing}")
    for key, entry in entries.items():
        for name, given in entry.items() if isinstance(entry, Mapping) else [(entry, None)]:
            if name not in names or not isinstance(given, Mapping):
                raise ArgumentError(
                    f"recipe {path}: [each] {key} has {name!r}{suggestion(str(name), names)}; it "
                    f"holds arguments by step: "
                    f"{key} = {{ {names[0]} = {{ seed = 1 }} }}"
                )


def each_step(
    step: Mapping[str, Any], entries: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the arguments of a step, for each sample if it asks for it, with an ending of its name.

    >>> step = {"name": "label", "each": True, "sample": "{each}.zarr"}
    >>> for ending, given in each_step(step, {"a": {}, "b": {"label": {"connectivity": 26}}}):
    ...     print(ending, given)
    -a {'name': 'label', 'sample': 'a.zarr'}
    -b {'name': 'label', 'sample': 'b.zarr', 'connectivity': 26}
    >>> list(each_step({"name": "table", "samples": ["{each}.zarr"]}, {"a": {}, "b": {}}))
    [('', {'name': 'table', 'samples': ['a.zarr', 'b.zarr']})]
    """
    given = {k: v for k, v in step.items() if k != "each"}
    if not step.get("each", False):
        yield "", {k: _spread(v, entries) for k, v in given.items()}
        return
    for key, entry in entries.items():
        own = entry.get(step["name"], {})
        yield f"-{key}", {k: _named(v, key) for k, v in {**given, **own}.items()}


def _named(value: Any, name: str) -> Any:
    if isinstance(value, str):
        return value.replace(NAME, name)
    return [_named(one, name) for one in value] if isinstance(value, list) else value


def _spread(value: Any, names: Mapping[str, Any]) -> Any:
    if not isinstance(value, list) or not names:
        return value
    return [
        one
        for text in value
        for one in (
            [_named(text, n) for n in names] if isinstance(text, str) and NAME in text else [text]
        )
    ]
