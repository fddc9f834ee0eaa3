"""Inputs of descriptors: voxel fields of a sample, by role and name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["labels", "grey", "values", "numbers", "through"]
# Types of the voxels of each role.
DTYPES: dict[Role, tuple[str, ...]] = {
    "labels": ("uint8",),
    "grey": ("uint8", "uint16"),
    "values": ("float32",),
    "numbers": ("uint32",),
    "through": ("uint32",),
}
# Command to type where a field of a role is missing.
COMMANDS: dict[Role, str] = {
    "labels": "tim3d segment {sample} --method otsu --phases pore=0,solid=1 --out {name}",
    "grey": "tim3d ingest SLICES {sample} --field {name} --voxel-size z=10,y=5,x=5",
    "values": "tim3d ingest SLICES {sample} --field {name} --voxel-size z=10,y=5,x=5",
    "numbers": "tim3d label {sample}{on_field} --keep --component {name}",
    "through": "tim3d label {sample}{on_field} --keep --component {name}",
}


@dataclass(frozen=True, slots=True)
class Input:
    """A field that is read, voxel by voxel beside the measured one.

    Parameters
    ----------
    role : {"labels", "grey", "values", "numbers", "through"}
        Codes of phases (uint8), grey values (uint8, uint16), values of any unit such as a distance
        or a flux (float32), or numbers of components (uint32). "through" reads numbers of
        components and gives bits (uint8): bit a of a voxel whose component leads from face to face
        along axis a.
    name : str
        Name of the field; ``{field}`` in it stands for the measured one (default: the measured one
        itself).
    command : str
        Command that makes the field, for the message where it is missing; ``{sample}``, ``{field}`` and
        ``{on_field}``, the option --field where it is needed, are filled in (default: the usual command of
        the role).
    of_two_phases : bool
        Whether there can be none in a volume of one phase.

    Examples
    --------
    >>> Input("values", "{field}_flux_z").field_name("phase")
    'phase_flux_z'
    """

    role: Role
    name: str = ""
    command: str = ""
    of_two_phases: bool = False

    def field_name(self, measured: str) -> str:
        """Name of the field in the sample."""
        return self.name.replace("{field}", measured) or measured

    def cure(self, sample: str, measured: str) -> str:
        """Command to type where the field is missing."""
        on_field = "" if measured == "phase" else f" --field {measured}"
        filled = {
            "sample": sample,
            "field": measured,
            "on_field": on_field,
            "name": self.field_name(measured),
        }
        return (self.command or COMMANDS[self.role]).format(**filled)


#: The measured field itself, its voxels the codes of phases.
LABELS = Input("labels")
