"""Blocks on dask: plan a pass, run it, remember what is done. It takes a callable and knows no kernel."""

from tim3d.engine.cluster import Cluster, cluster, current_cluster
from tim3d.engine.cost import costing
from tim3d.engine.crew import Seat, together
from tim3d.engine.journal import journal
from tim3d.engine.ledger import Ledger, forget_sample
from tim3d.engine.lock import lock_sample
from tim3d.engine.parts import Part, in_turns, member
from tim3d.engine.plan import Outline, Plan
from tim3d.engine.prospect import prospective
from tim3d.engine.run import Pass, Work, run
from tim3d.engine.summary import Summary

__all__ = [
    "Cluster",
    "Ledger",
    "Outline",
    "Part",
    "Pass",
    "Plan",
    "Seat",
    "Summary",
    "Work",
    "cluster",
    "costing",
    "current_cluster",
    "forget_sample",
    "in_turns",
    "journal",
    "lock_sample",
    "member",
    "prospective",
    "run",
    "together",
]
