"""Multicut of a weighted graph, by `bioimage_cpp`: the only module that knows this package.

References
----------
Kappes et al., Int. J. Comput. Vis. 115 (2015) 155. DOI 10.1007/s11263-015-0809-x
Keuper et al., ICCV (2015) 1751 (Kernighan-Lin). DOI 10.1109/ICCV.2015.204
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import MissingExtraError


def require_multicut() -> None:
    """Raise `MissingExtraError` if `bioimage_cpp` is not installed."""
    try:
        import bioimage_cpp  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "a multicut needs the package bioimage-cpp: pip install 'tim3d[multicut]', or link by --rule mutual"
        ) from error


def multicut(
    nodes: int, edges: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Group of each node: the sum of the weights between groups is small.

    Solved part by part of what attracts, on one thread, by greedy contraction and Kernighan-Lin.

    Parameters
    ----------
    nodes : int
        How many.
    edges : (m, 2) int64
        Their ends.
    weights : (m,) float64
        Above 0 where the ends attract each other.
    """
    require_multicut()
    from bioimage_cpp.graph import UndirectedGraph
    from bioimage_cpp.graph import multicut as library

    if not len(edges):
        return np.arange(nodes)
    graph = UndirectedGraph(nodes)
    graph.insert_edges(np.ascontiguousarray(edges, np.uint64))
    solver = library.MulticutDecomposer(
        library.ChainedMulticutSolvers(
            [library.GreedyAdditiveMulticut(), library.KernighanLinMulticut()]
        ),
        number_of_threads=1,
    )
    found = solver.optimize(library.MulticutObjective(graph, np.ascontiguousarray(weights)))
    return np.asarray(found, np.int64)
