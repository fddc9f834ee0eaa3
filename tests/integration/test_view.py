"""`view`: what a browser is given is what the sample holds, and only this machine is answered."""

from __future__ import annotations

import importlib.util
import inspect
import io
import json
import shutil
import signal
import sys
import threading
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tests.browser import CHROMIUM, looking_at, screenshot
from tests.servers import free_port
from tim3d.cli.main import main
from tim3d.cli.recipe import run_recipe
from tim3d.colours import colours
from tim3d.errors import ArgumentError, InputError, MissingExtraError, MissingFieldError
from tim3d.kernels.morphology.mesh import is_closed, volume
from tim3d.storage import store
from tim3d.viewing.layers import layers as layers_of

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("neuroglancer") is None,
    reason="the viewer: pip install 'tim3d[view]'",
)

SHAPE, VOXEL = (12, 150, 90), {"z": 20.0, "y": 5.0, "x": 5.0}
PHASES = tim3d.Phases(pore=0, copper=3)
QUIET = tim3d.Options(progress=False)
# Verbs whose parameters are looked at here.
VERBS = {"view"}


def grey() -> Any:
    """Noise: no voxel is like its neighbours."""
    return np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)


def labels() -> Any:
    """A ball of copper in the middle, cut by no face."""
    z, y, x = np.indices(SHAPE)
    inside = (4 * (z - 6)) ** 2 + (y - 75) ** 2 + (x - 45) ** 2 < 20**2
    return np.where(inside, 3, 0).astype(np.uint8)


def filled(folder: Path, url: str) -> str:
    for name, values, phases in (("raw", grey(), None), ("phase", labels(), PHASES)):
        np.save(folder / f"{name}.npy", values)
        tim3d.ingest(
            folder / f"{name}.npy", url, voxel_size=VOXEL, field=name, phases=phases, options=QUIET
        )
    return url


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("view")
    url = filled(folder, str(folder / "a.zarr"))
    tim3d.label(url, keep=True, options=QUIET)
    tim3d.geodesic(url, phases=["copper"], directions=["+z"], keep=True, options=QUIET)
    return Path(url)


@pytest.fixture
def sample(made: Path, tmp_path: Path) -> str:
    return str(shutil.copytree(made, tmp_path / "a.zarr"))


@pytest.fixture
def view(sample: str) -> Iterator[Any]:
    with tim3d.view(sample, no_browser=True) as shown:
        yield shown


def layers(view: Any) -> dict[str, Any]:
    return {one.name: one.layer.to_json() for one in view.page.state.layers}


def source(view: Any, name: str) -> str:
    (address,) = layers(view)[name]["source"]
    return str(address["url"]).removeprefix("precomputed://")


def got(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return bytes(answer.read())


def status(url: str) -> int:
    with pytest.raises(urllib.error.HTTPError) as said:
        got(url)
    said.value.close()
    return said.value.code


def test_every_finished_field_is_a_layer_and_phases_have_surfaces(view: Any) -> None:
    assert [(name, one["type"]) for name, one in layers(view).items()] == [
        ("raw", "image"),
        ("phase_geodesic_copper_z_up", "image"),
        ("component", "segmentation"),
        ("phase", "segmentation"),
        ("surfaces of phase", "segmentation"),
    ]
    assert view.page.state.dimensions.to_json() == {
        "x": [5e-9, "m"], "y": [5e-9, "m"], "z": [2e-8, "m"],
    }  # fmt: skip


def test_phases_have_their_names_and_the_colours_of_the_figures(view: Any) -> None:
    for name in ("phase", "surfaces of phase"):
        assert layers(view)[name]["segmentColors"] == {
            str(code): colours(PHASES)[phase] for phase, code in PHASES.items()
        }
    named = json.loads(got(f"{source(view, 'phase')}/names/info"))["inline"]
    assert named["ids"] == ["0", "3"]
    assert named["properties"][0]["values"] == ["pore", "copper"]
    assert layers(view)["surfaces of phase"]["segments"] == ["3"]


def chunks(about: dict[str, Any]) -> Iterator[tuple[str, tuple[slice, ...]]]:
    """Paths of all chunks of all levels, with their boxes along z, y, x."""
    for scale in about["scales"]:
        (edges,), size = scale["chunk_sizes"], scale["size"]
        for start in np.ndindex(*(-(-n // c) for n, c in zip(size, edges, strict=True))):
            low = [i * c for i, c in zip(start, edges, strict=True)]
            high = [min(a + c, n) for a, c, n in zip(low, edges, size, strict=True)]
            box = [f"{a}-{b}" for a, b in zip(low, high, strict=True)]
            yield f"{scale['key']}/{'_'.join(box)}", tuple(map(slice, low[::-1], high[::-1]))


@pytest.mark.parametrize("name", ["raw", "phase", "component", "phase_geodesic_copper_z_up"])
def test_chunks_are_the_voxels_on_every_level(view: Any, sample: str, name: str) -> None:
    about = json.loads(got(f"{source(view, name)}/info"))
    assert about["scales"][0]["resolution"] == [5, 5, 20]
    assert about["scales"][1]["resolution"] == [10, 10, 20]
    assert [scale["voxel_offset"] for scale in about["scales"]] == [[0, 0, 0]] * len(
        about["scales"]
    )
    for path, box in chunks(about):
        voxels = tim3d.storage.store.open_field(sample, name, int(path[0])).values[box]
        served = np.frombuffer(got(f"{source(view, name)}/{path}"), voxels.dtype)
        np.testing.assert_array_equal(served.reshape(voxels.shape), voxels)


def test_a_surface_is_closed_and_encloses_the_voxels_of_its_phase(view: Any) -> None:
    place = source(view, "surfaces of phase")
    assert json.loads(got(f"{place}/3:0")) == {"fragments": ["3"]}
    data = got(f"{place}/3")
    count = int(np.frombuffer(data[:4], "<u4")[0])
    corners = np.frombuffer(data[4 : 4 + 12 * count], "<f4").reshape(-1, 3).astype(np.float64)
    faces = np.frombuffer(data[4 + 12 * count :], "<u4").reshape(-1, 3).astype(np.int64)
    assert is_closed(faces)
    assert volume(corners, faces) == pytest.approx((labels() == 3).sum() * 20 * 5 * 5, rel=1e-4)
    np.testing.assert_allclose((corners.min(0) + corners.max(0)) / 2, [227.5, 377.5, 130], atol=3)


def test_values_that_mean_none_are_left_out_of_the_range(view: Any) -> None:
    shown = layers(view)["phase_geodesic_copper_z_up"]["shaderControls"]["normalized"]["range"]
    assert 0 <= shown[0] < shown[1]
    # -1 is drawn as nothing; grey values have none that means that.
    assert (
        "getDataValue()) < 0.0) { discard; }"
        in layers(view)["phase_geodesic_copper_z_up"]["shader"]
    )
    assert "discard" not in layers(view)["raw"]["shader"]


def test_only_chunks_are_read_and_only_with_the_token(view: Any) -> None:
    place = source(view, "raw")
    for path in (
        "0/0-90_0-150_0-12",
        "0/1-64_0-64_0-12",
        "9/0-64_0-64_0-12",
        "3:0",
        "..",
        "mesh/3",
    ):
        assert status(f"{place}/{path}") == 404
    assert status(f"{source(view, 'surfaces of phase')}/1") == 404
    assert status(place.replace(view.page.token, "0" * 40) + "/info") == 404
    assert status(place.rpartition("/")[0] + "/99/info") == 404
    assert "//127.0.0.1:" in view.url


def test_a_missing_shard_is_an_error_and_not_zeros(view: Any, sample: str) -> None:
    Path(sample, "raw/s0/raw/c/0/0/0").unlink()
    assert status(f"{source(view, 'raw')}/0/0-64_0-64_0-12") == 500


def test_the_page_and_its_code_come_from_the_package(view: Any) -> None:
    page = got(view.url).decode()
    assert "neuroglancer" in page
    assert "//" not in page.replace("<!--", "")


def test_a_sample_behind_a_url_is_served(tmp_path: Path) -> None:
    url = filled(tmp_path, "memory://view.zarr")
    with tim3d.view(url, "raw", no_browser=True) as shown:
        assert list(layers(shown)) == ["raw"]
        data = np.frombuffer(got(f"{source(shown, 'raw')}/0/0-64_0-64_0-12"), np.uint8)
    np.testing.assert_array_equal(data.reshape(12, 64, 64), grey()[:, :64, :64])


@pytest.mark.parametrize("status", ["writing", "left"])
def test_a_field_that_is_not_finished_is_not_shown(sample: str, status: str) -> None:
    for name in ("phase", "component"):
        store.update_node(sample, name, status=status)
    shown = [one.name for one in layers_of(sample, ())]
    assert shown == ["raw", "phase_geodesic_copper_z_up"]
    with pytest.raises(MissingFieldError):
        layers_of(sample, ("phase",))


def test_an_outdated_field_is_left_out_with_a_word(
    sample: str, tmp_path: Path, caplog: Any
) -> None:
    np.save(tmp_path / "phase.npy", 3 - labels())
    tim3d.ingest(
        tmp_path / "phase.npy", sample, voxel_size=VOXEL, field="phase", phases=PHASES,
        options=tim3d.Options(progress=False, overwrite=True),
    )  # fmt: skip
    with tim3d.view(sample, no_browser=True) as shown:
        assert list(layers(shown)) == ["raw", "phase", "surfaces of phase"]
    assert "component is not shown: outdated" in caplog.text


def test_bad_input_is_one_line(sample: str, tmp_path: Path, monkeypatch: Any) -> None:
    with pytest.raises(InputError, match=r"none\.zarr"):
        tim3d.view(str(tmp_path / "none.zarr"))
    tim3d.storage.store.create_sample(str(tmp_path / "empty.zarr"))
    with pytest.raises(MissingFieldError, match="Make one: tim3d ingest"):
        tim3d.view(str(tmp_path / "empty.zarr"))
    with pytest.raises(MissingFieldError, match="no field 'pores'"):
        tim3d.view(sample, ["pores"])
    with pytest.raises(ArgumentError, match="give 0"):
        tim3d.view(sample, port=70000)
    monkeypatch.setitem(sys.modules, "neuroglancer", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tim3d\[view\]'"):
        tim3d.view(sample)


def test_every_parameter_changes_what_is_served(
    view: Any, sample: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    port = free_port()
    for one in (
        {"sample": filled(tmp_path, str(tmp_path / "b.zarr"))},
        {"fields": "raw"},
        {"port": port},
        {"no_browser": False},
    ):
        with tim3d.view(**({"sample": sample, "no_browser": True} | one)) as shown:
            changed = {
                "sample": shown.page.state.title != view.page.state.title,
                "fields": list(layers(shown)) != list(layers(view)),
                "port": shown.page.server.port == port,
                "no_browser": opened == [shown.url],
            }
            assert changed.pop(*one)
    assert set(inspect.signature(tim3d.view).parameters) == {
        "sample",
        "fields",
        "port",
        "no_browser",
    }


def test_a_port_in_use_is_refused(view: Any, sample: str) -> None:
    with pytest.raises(ArgumentError, match=r"is in use\. Give another one, or --port 0"):
        tim3d.view(sample, port=view.page.server.port, no_browser=True)


def test_a_recipe_does_not_serve(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('sample = "a.zarr"\n[[step]]\nverb = "view"\n')
    with pytest.raises(ArgumentError, match="Type: tim3d view SAMPLE"):
        run_recipe(recipe)


class Screen(io.StringIO):
    """What is printed; Ctrl-C is pressed when it is said that it ends the program."""

    def write(self, text: str) -> int:
        if "Ctrl-C" in text:
            threading.Timer(
                0.5, signal.pthread_kill, (threading.get_ident(), signal.SIGINT)
            ).start()
        return super().write(text)


@pytest.fixture
def listening() -> Iterator[None]:
    """Ctrl-C interrupts, also where the tests were started in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listening")
def test_the_shell_prints_the_address_and_ends_on_ctrl_c(
    sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", said := Screen())
    assert main(["view", sample, "--no-browser", "--quiet"]) == 0
    assert said.getvalue().startswith("http://127.0.0.1:")
    with pytest.raises(urllib.error.URLError):
        got(said.getvalue().splitlines()[0])


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
@pytest.mark.timeout(500)
def test_a_browser_draws_the_voxels_of_a_slice(view: Any, tmp_path: Path) -> None:
    """One pixel a voxel: the picture of a slice is its grey values, and then its phases in their colours."""
    high, wide = SHAPE[1:]
    plane = {"layout": "xy", "position": [wide / 2, high / 2, 5.5], "crossSectionScale": 1}
    hidden = {"showAxisLines": False, "showScaleBar": False, "showDefaultAnnotations": False}
    with looking_at(view.url, tmp_path):
        for name, expected in (("raw", as_grey()), ("phase", as_colours())):
            with view.page.txn() as state:
                for layer in state.layers:
                    layer.visible = layer.name == name
                state.layers["raw"].layer.shader_controls = {"normalized": {"range": [0, 255]}}
                state.layers["phase"].layer.selected_alpha = 1
                state.cross_section_background_color = "#000000"
                view_of = state.to_json() | plane | hidden
            view.page.set_state(view_of)
            pixels = screenshot(view.page, (wide, high))[..., :3].astype(int)
            assert pixels.shape == (high, wide, 3)
            assert np.abs(pixels - expected).max() <= 1, name


def as_grey() -> Any:
    return np.repeat(grey()[5].astype(int)[..., None], 3, axis=-1)


def as_colours() -> Any:
    shades = {code: bytes.fromhex(colours(PHASES)[name][1:]) for name, code in PHASES.items()}
    return np.where((labels()[5] == 3)[..., None], list(shades[3]), list(shades[0]))
