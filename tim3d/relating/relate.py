"""The verb `relate`: which features of samples explain a property of them, and how surely."""

from __future__ import annotations

from pathlib import Path

from tim3d.descriptors.coupled import Descriptors
from tim3d.lazy import xarray as xr
from tim3d.relating.job import Place, Relating
from tim3d.relating.question import Question
from tim3d.stages.shared.verb import Task, Verb
from tim3d.typed import Derivations, Names, Roles, Sources


@Verb
def relate(
    source: Sources,
    *,
    target: str,
    features: Names | None = None,
    leave_out: Names = (),
    derive: Derivations | None = None,
    smallest: int = 1,
    largest: int = 3,
    fixed: Names | None = None,
    group: str | None = None,
    hold_out: Names = (),
    log_target: bool = False,
    physics: Roles | None = None,
    bulk: float | None = None,
    contrast: float = 0.0,
    gaussian_process: bool = False,
    level: float = 0.9,
    permutations: int = 999,
    draws: int = 1000,
    seed: int = 0,
    metadata: str | Path | None = None,
    descriptors: Descriptors | None = None,
    field: str = "phase",
    transport: str = "",
    csv: str | Path | None = None,
    json: str | Path | None = None,
    page: str | Path | None = None,
) -> Task[xr.Dataset]:
    """Relate features of samples to a property: linear models, validated and tested as one search.

    All models of a few features are compared by their errors on left-out samples. The search is
    repeated without each sample, without each group and on shuffled targets, which says what its best
    model is worth. The same call gives the same bits.

    Parameters
    ----------
    source : path or list of paths
        A table, CSV or Parquet, with a row for each sample; or samples, whose results are taken.
    target : str
        Column of the property that is to be explained.
    features : list of str, optional
        Columns that may explain it (default: all columns of numbers).
    leave_out : list of str
        Columns that may not.
    derive : mapping of str to str, optional
        Features to make of columns, as alpha=bruggeman:tau:density (default: none). Formulas are
        bruggeman, curvature_ratio, ratio and product.
    smallest : int
        Least number of features of a model.
    largest : int
        Largest number of features of a model.
    fixed : list of str, optional
        Features of the only model; nothing is searched (default: search).
    group : str, optional
        Column by which samples belong together, such as their material (default: none). Groups are left
        out as a whole too.
    hold_out : list of str
        Samples that take no part and are predicted in the end. Their target may be missing.
    log_target : bool
        Explain the logarithm: errors are then shares of the value, and no prediction is negative.
    physics : mapping of str to str, optional
        Columns for laws of conduction to compare with, as density=COLUMN (default: none). Roles are
        density, tortuosity, constrictivity and solved.
    bulk : float, optional
        Conductivity of the dense phase in the unit of the target (default: fitted, one number for each law).
    contrast : float
        Conductivity of the other phase divided by that of the conducting one.
    gaussian_process : bool
        Add a Gaussian process of the chosen features, by scikit-learn.
    level : float
        Share of samples that an interval should hold.
    permutations : int
        Searches on shuffled targets.
    draws : int
        Draws of columns that have an uncertainty, NAME_error.
    seed : int
        Number from which all that is random follows.
    metadata : path, optional
        Of samples: a table with a row for each, see table (default: none).
    descriptors : iterable of str, Descriptor or Coupled, optional
        Of samples: names of descriptors (default: all that were measured).
    field : str
        Of samples: the label field.
    transport : str
        Of samples: name of the result of solve that is meant (default: all).
    csv : path, optional
        File to which all numbers are written as a tidy table (default: none).
    json : path, optional
        File to which everything is written as JSON (default: none).
    page : path, optional
        HTML file with figures and tables (default: none).

    Returns
    -------
    xarray.Dataset
        Over ``model``: `r2`, `q2`, `left_out_error`, `within_one_error` ... of every model. Over
        ``sample``: `measured`, `fitted`, `predicted`, `nested`, `low`, `high`. Over ``feature``, those of the
        chosen model: `slope`, `standardised_slope`, `shapley_r2`, `mean_shap`, `inflation` ... `q2_nested`,
        `p_value`, and with groups `q2_by_group`. docs/relate.md defines each.

    Raises
    ------
    ArgumentError
        If an argument is out of its range, a column does not exist, or the question is too large for
        the samples.
    InputError
        If values are missing, a feature is constant, is the target or another feature, or columns were
        measured in different ways.
    MissingExtraError
        If scikit-learn or pyarrow is needed and not installed.
    """
    given = [str(one) for one in ([source] if isinstance(source, str | Path) else source)]
    question = Question(
        target, None if features is None else tuple(features), tuple(leave_out), dict(derive or {}), smallest,
        largest, None if fixed is None else tuple(fixed), group, tuple(hold_out), log_target, dict(physics or {}),
        bulk, contrast, gaussian_process, level, permutations, draws, seed,
    )  # fmt: skip
    question.check()
    chosen = None if descriptors is None else list(descriptors)
    relating = Relating(question, Place(given, metadata, chosen, field, transport), csv, json, page)
    relating.check()
    return Task(relating.plans, relating.run)
