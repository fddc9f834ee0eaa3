"""Temporary arrays of a run of many passes, in a node that says which run may go on with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tim3d.commands import current_command
from tim3d.errors import MixedRunError
from tim3d.storage import store


@dataclass(frozen=True)
class Unfinished:
    """Node of the temporary arrays of a run.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    node : str
        The node.
    of : str
        Name of what the run makes, for messages.
    state : mapping
        What must agree for a run to go on: ``fingerprint``, ``block``, and more if need be.
    """

    sample: str
    node: str
    of: str
    state: Mapping[str, Any]

    def goes_on(self) -> bool:
        """Whether an interrupted run of the same state left its arrays."""
        before = self._before()
        return before.get("status") == "writing" and all(
            before.get(key) == value for key, value in self.state.items()
        )

    def refuse_other_blocks(self) -> None:
        """Raise `MixedRunError` if a run of the same numbers was interrupted that has other blocks."""
        before = self._before()
        alike = before.get("fingerprint") == self.state["fingerprint"]
        if before.get("status") == "writing" and alike and before["block"] != self.state["block"]:
            raise MixedRunError(
                f"{self.of} of {self.sample} was begun with block {before['block']} (now {self.state['block']}). "
                "Finish it with the same blocks, or start again: add --overwrite"
            )

    def begin(self, record: Mapping[str, Any]) -> None:
        """Let the run go on from here on, with the arrays that were created."""
        about = {"command": current_command(), **record, **self.state}
        store.update_node(self.sample, self.node, **about)

    def drop(self) -> None:
        """Delete the arrays; a deletion that is interrupted leaves none to go on with."""
        if self._before():
            store.update_node(self.sample, self.node, status="left")
        store.delete_node(self.sample, self.node)

    def _before(self) -> Mapping[str, Any]:
        return store.node_attributes(self.sample, self.node)
