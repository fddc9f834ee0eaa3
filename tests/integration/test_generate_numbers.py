"""Numbers that no structure can have are refused by `generate` in one line, in the words of the shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.diffusers import saved
from tim3d.cli.main import main

GRAINS = "--loading .3 --diameter-nm 40 --spread .1 --aspect 1.2 --orientation 1,1,1"
GUIDED = (
    "--target phase_fraction=.4,conductivity=.3 --conductivity pore=0,solid=1 "
    "--scatter phase_fraction=.01,conductivity=.02"
)
ROUGH = "--roughness rms_nm=60,hurst=.8,correlation_nm=1000,cutoff_nm=400"
KINDS = {
    "field": "--shape 16,16,16 --voxel-size 10,10,10 --fractions a=.5,b=.5 --correlation-nm 20",
    "overlapping": f"--shape 16,16,16 --voxel-size 10,10,10 {GRAINS}",
    "hard-core": "--shape 16,16,16 --voxel-size 10,10,10 --loading .1 --diameter-nm 40 --spread .1",
    "packed": "--shape 16,16,16 --voxel-size 10,10,10 --loading .3 --sizes 40=1,30=2 --cell-nm 160,160,160",
    "spinodal": "--shape 1,64,64 --voxel-size 10,10,10 --fractions a=.5,b=.5 --wavelength-nm 120 --ripening 9 "
    "--cell-nm 10,640,640",
    "polycrystal": "--shape 32,32,32 --voxel-size 10,10,10 --grain-nm 100 --boundary-nm 20 --growth 8 --cell-nm "
    "320,320,320",
    "interface": "--shape 48,32,32 --voxel-size 100,100,100 --bond-line-nm 3000 --loading .2 --diameter-nm 800 "
    f"--film-nm 10 {ROUGH} --voids share=.1,diameter_nm=300 --delamination below=.1,patch_nm=600,gap_nm=100",
    "contact": f"--shape 24,48,48 --voxel-size 50,50,50 {ROUGH} --pressure .1",
    "diffusion": f"--weights W --shape 16,16,16 --voxel-size 12,10,8 --steps 4 --harmonise 1 --tile 32 {GUIDED}",
}
# What may stand for an option where it is not named: what the number is of.
MEANT = {
    "shape": "shape", "voxel-size": "voxel", "fractions": "fractions", "loading": "fraction|fill", "spread": "spread",
    "aspect": "aspect", "orientation": "orientation", "ripening": "ripening", "boundary-nm": "boundary",
    "growth": "growth", "film-nm": "film", "roughness": "rough", "voids": "voids", "delamination": "delaminated|gap",
    "pressure": "pressure", "harmonise": "times", "sizes": "diameter|share|sizes", "conductivity": "conductivity of",
}  # fmt: skip


def wrong(words: list[str], bad: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    """Options in which one number is replaced, and the words of the call."""
    for place in range(0, len(words), 2):
        parts = words[place + 1].split(",")
        for number, part in enumerate(parts):
            head = f"{part.partition('=')[0]}=" if "=" in part else ""
            for value in bad if words[place] != "--weights" else ():
                typed = ",".join([*parts[:number], head + value, *parts[number + 1 :]])
                rest = words[:place] + words[place + 2 :]
                yield words[place][2:], [*rest, f"{words[place]}={typed}"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_number_out_of_range_is_refused_in_the_words_of_the_shell(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = str(saved(tmp_path)) if kind == "diffusion" else ""
    base = shlex.split(f"{KINDS[kind]} --seed 1".replace(" W ", f" {net} "))
    call = ["generate", str(tmp_path / "x.zarr"), "--kind", kind, "--plan", "--quiet"]
    assert main([*call, *base]) == 0
    capsys.readouterr()
    for option, words in wrong(base, ("-1", "nan", "inf")):
        typed = words[-1]
        try:
            code: object = main([*call, *words])
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr().err.strip().splitlines()[-1:]
        assert code == 2, (typed, code, said)
        assert re.search(f"--{option}|{MEANT.get(option, f'--{option}')}", said[0]), (typed, said)
    assert not (tmp_path / "x.zarr").exists()
