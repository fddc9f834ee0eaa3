"""Blocks on dask: plan a pass, run it, record what is done. The engine imports no kernel."""

from tim3d.engine.clusters.cluster import Cluster, cluster, current_cluster
from tim3d.engine.clusters.planned import prospective
from tim3d.engine.collective.launch import Seat, run_collective
from tim3d.engine.job_array import Part, join_job_array, run_exclusively
from tim3d.engine.passes.cost import costing
from tim3d.engine.passes.gathering import Gathering
from tim3d.engine.passes.plan import Outline, Plan
from tim3d.engine.passes.progress import progress_bar
from tim3d.engine.passes.run import Pass, Work, run
from tim3d.engine.passes.summary import Summary
from tim3d.engine.state.journal import journal
from tim3d.engine.state.ledger import Ledger, forget_sample
from tim3d.engine.state.lock import lock_sample

__all__ = [
    "Cluster",
    "Gathering",
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
    "join_job_array",
    "journal",
    "lock_sample",
    "progress_bar",
    "prospective",
    "run",
    "run_collective",
    "run_exclusively",
]
