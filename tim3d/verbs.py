"""Table of the verbs and their modules, used by the package, the shell and recipes."""

# By what they are for, in the order in which the shell lists them.
GROUPS = {
    "read and correct grey values": {
        "inspect": "tim3d.stages.inspection.inspect",
        "ingest": "tim3d.stages.ingest",
        "prepare": "tim3d.stages.preparation.prepare",
    },
    "segment": {
        "annotate": "tim3d.stages.segmentation.annotate",
        "paint": "tim3d.stages.segmentation.paint",
        "take_painted": "tim3d.stages.segmentation.take_painted",
        "combine_labels": "tim3d.stages.segmentation.combine_labels",
        "train": "tim3d.stages.segmentation.train",
        "train_strokes": "tim3d.stages.segmentation.train_strokes",
        "import_network": "tim3d.stages.segmentation.import_network",
        "segment": "tim3d.stages.segmentation.segment",
        "fine_tune": "tim3d.stages.segmentation.fine_tune",
        "embed": "tim3d.stages.segmentation.embed",
        "tune_masks": "tim3d.stages.segmentation.tune_masks",
        "segment_prompted": "tim3d.stages.segmentation.segment_prompted",
        "propagate": "tim3d.stages.segmentation.propagate",
        "clean": "tim3d.stages.cleaning.clean",
    },
    "tell objects apart": {
        "annotate_instances": "tim3d.stages.segmentation.annotate_instances",
        "particles": "tim3d.stages.morphology.particles",
        "watershed": "tim3d.stages.morphology.watershed",
        "link_slices": "tim3d.stages.segmentation.link_slices",
        "confidence": "tim3d.stages.segmentation.confidence",
    },
    "measure": {
        "measure": "tim3d.stages.measurement.measure",
        "describe": "tim3d.stages.measurement.describe",
        "label": "tim3d.stages.components.label",
        "distance": "tim3d.stages.morphology.distance",
        "thickness": "tim3d.stages.morphology.thickness",
        "skeleton": "tim3d.stages.morphology.skeleton",
        "struts": "tim3d.stages.morphology.struts",
        "porosimetry": "tim3d.stages.morphology.porosimetry",
        "geodesic": "tim3d.stages.geodesic.geodesic",
        "solve": "tim3d.stages.conduction.solve",
        "study": "tim3d.stages.representative.study",
    },
    "judge, and say how certain it is": {
        "evaluate": "tim3d.stages.segmentation.evaluate",
        "fidelity": "tim3d.stages.comparison.fidelity",
        "likeness": "tim3d.stages.imaging.likeness",
        "calibrate": "tim3d.stages.uncertainty.calibrate",
        "sample_labels": "tim3d.stages.uncertainty.sample_labels",
        "points": "tim3d.stages.uncertainty.points",
        "count_points": "tim3d.stages.uncertainty.count_points",
    },
    "work on folders of single images": {
        "train_images": "tim3d.stages.images.train_images",
        "train_strokes_images": "tim3d.stages.images.train_strokes_images",
        "tune_masks_images": "tim3d.stages.images.tune_masks_images",
        "generate_images": "tim3d.stages.images.generate_images",
        "segment_images": "tim3d.stages.images.segment_images",
        "measure_images": "tim3d.stages.images.measure_images",
        "evaluate_images": "tim3d.stages.images.evaluate_images",
        "fidelity_images": "tim3d.stages.images.fidelity_images",
    },
    "generate and simulate": {
        "generate": "tim3d.stages.generation.generate",
        "train_generator": "tim3d.stages.generation.train_generator",
        "train_diffusion": "tim3d.stages.generation.train_diffusion",
        "train_cgan": "tim3d.stages.generation.train_cgan",
        "import_generator": "tim3d.stages.generation.import_generator",
        "library": "tim3d.cataloguing.library",
        "simulate": "tim3d.stages.generation.simulate",
        "fit_imaging": "tim3d.stages.imaging.fit_imaging",
        "render": "tim3d.stages.imaging.render",
        "adapt": "tim3d.stages.imaging.adapt",
        "train_translator": "tim3d.stages.imaging.train_translator",
        "translate": "tim3d.stages.imaging.translate",
    },
    "compare samples, and predict": {
        "table": "tim3d.relating.table",
        "relate": "tim3d.relating.relate",
        "contact": "tim3d.relating.contact",
        "bond_line": "tim3d.relating.bond_line",
        "train_surrogate": "tim3d.relating.train_surrogate",
        "predict_images": "tim3d.relating.predict_images",
    },
    "show and export": {
        "report": "tim3d.reporting.report",
        "plot": "tim3d.exporting.plot",
        "view": "tim3d.viewing.view",
        "export": "tim3d.exporting.export",
    },
}
VERBS = {name: module for verbs in GROUPS.values() for name, module in verbs.items()}
# Where Python has them, those that take a value there which the shell builds from options.
BY_VALUE = {"generate": "tim3d.stages.generation.volume"}
# Folders of trainings that follow any number of images, and are options for that.
TRAINS_ON_IMAGES = {("train_generator", "out"), ("train_diffusion", "out"), ("train_cgan", "out")}
# Parameters of verbs that exist in Python only: the shell has options of the run and --quiet
# instead.
PYTHON_ONLY = frozenset({"options", "progress", "on_look", "segmenter", "sections", "axes"})
# Parameters that decide what is done and may be values of Python, which no command can name.
VALUES = ("segmenter", "generator", "source", "steps", "format")


def is_positional(verb: str, name: str, default: object, *, needed: bool) -> bool:
    """Whether a parameter that is positional in Python is positional in the shell too.

    An optional parameter is an option there, unless it is a list. So is the folder of a training,
    which would follow any number of images.

    >>> is_positional("report", "out", None, needed=True), is_positional("measure", "descriptors", None, needed=False)
    (True, False)
    """
    return (needed or default == ()) and (verb, name) not in TRAINS_ON_IMAGES


def option_of(name: str, *, on: bool = True) -> str:
    """Option that sets a parameter, or that switches off one which is on by default.

    >>> option_of("voxel_size"), option_of("even_z", on=False)
    ('--voxel-size', '--uneven-z')
    """
    return f"--{'' if on else 'un'}{name.replace('_', '-')}"
