"""The deployment files say what the program can do: images, compose and Kubernetes.

Nothing is started: they are read as data, and by docker's and kubectl's own readers, if any.
"""

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cli import flags

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
IMAGE = f"fibreflow:{PROJECT['version']}"
WORKSPACE = "/srv/fibreflow"

# -------------------------------------------------------------------- the image


def instructions() -> list[tuple[str, str]]:
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in whole.splitlines())]


def of(*words: str) -> list[str]:
    return [rest for word, rest in instructions() if word in words]


def test_the_image_begins_from_a_pinned_one_and_ends_as_nobody_special() -> None:
    (start,) = of("FROM")
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", start)
    version = start.removeprefix("python:").split("-")[0]
    assert f">={version}" >= PROJECT["requires-python"]
    user = of("USER")[-1]
    assert user.split(":")[0].isdigit()
    assert int(user.split(":")[0]) > 999
    last_user = max(i for i, (word, _) in enumerate(instructions()) if word == "USER")
    assert not any(word == "RUN" for word, _ in instructions()[last_user:])


def test_what_it_copies_is_there_and_not_ignored() -> None:
    kept = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    assert "*" in kept
    copied = [source for line in of("COPY") for source in line.split()[:-1]]
    for source in copied:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in kept, source
    # All that the package is made of, and what its build reads.
    assert {"pyproject.toml", "README.md", "orchestrator", "harness", "skills"} <= set(copied)
    (installed,) = (line for line in of("RUN") if "pip install" in line)
    extras = set(re.search(r"\.\[([\w,-]+)\]", installed)[1].split(","))  # type: ignore[index]
    assert extras <= PROJECT["optional-dependencies"].keys()


def test_it_leaves_no_lists_and_no_secrets_and_starts_without_a_shell() -> None:
    for line in of("RUN"):
        if "apt-get install" in line:
            assert "--no-install-recommends" in line
            assert "rm -rf /var/lib/apt/lists/*" in line
        assert "sudo" not in line
        assert "curl" not in line
    assert not of("ADD", "ARG", "MAINTAINER")
    assert not re.search(r"KEY|TOKEN|PASSWORD|SECRET", " ".join(of("ENV")))
    assert json.loads(of("ENTRYPOINT")[-1]) == ["fibreflow"]
    assert flags.parse([*json.loads(of("CMD")[-1])]).name in flags.COMMANDS


# ---------------------------------------------------------------------- compose


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    return loaded


def test_compose_has_postgres_a_run_and_two_workers() -> None:
    services = compose()["services"]
    assert set(services) == {"postgres", "run", "worker"}
    assert services["worker"]["deploy"]["replicas"] == 2
    assert "pg_isready" in " ".join(services["postgres"]["healthcheck"]["test"])
    for name in ("run", "worker"):
        service = services[name]
        assert service["depends_on"] == {"postgres": {"condition": "service_healthy"}}
        assert service["image"] == IMAGE
        build = (DEPLOY / service["build"]["context"]).resolve()
        assert (build / service["build"]["dockerfile"]).is_file()
        check_command(service["command"], name)
        assert any(volume.endswith(f":{WORKSPACE}") for volume in service["volumes"])
        assert "privileged" not in service
    assert ":latest" not in (DEPLOY / "compose.yaml").read_text("utf-8")
    assert services["worker"]["restart"] == "on-failure"
    assert services["run"]["restart"] == "no"  # a feature that failed is no reason to begin anew
    for published in services["run"]["ports"]:
        assert published.startswith("127.0.0.1:")


def test_run_and_workers_ask_the_same_database_and_no_password_is_written_down() -> None:
    services = compose()["services"]
    urls = {services[name]["environment"]["HARNESS_DATABASE_URL"] for name in ("run", "worker")}
    (url,) = urls
    found = re.fullmatch(r"postgresql://(\w+):\$\{POSTGRES_PASSWORD:\?.*?\}@(\w+):5432/(\w+)", url)
    assert found is not None
    user, host, name = found.groups()
    postgres = services[host]["environment"]
    assert (postgres["POSTGRES_USER"], postgres["POSTGRES_DB"]) == (user, name)
    assert postgres["POSTGRES_PASSWORD"].startswith("${")
    for name in ("run", "worker"):
        known(services[name]["environment"])


def test_every_volume_that_is_named_is_declared() -> None:
    whole = compose()
    for service in whole["services"].values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source.startswith(("$", ".", "/")) or source in whole["volumes"]


def test_compose_is_read_by_its_own_program(tmp_path: Path) -> None:
    if shutil.which("docker") is None:
        pytest.skip("docker is not here")
    has_it = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if has_it.returncode != 0:
        pytest.skip("docker has no compose here")
    env = tmp_path / "env"
    env.write_text(f"POSTGRES_PASSWORD=x\nWORKSPACE={tmp_path}\n")
    words = ["docker", "compose", "--env-file", str(env), "-f", str(DEPLOY / "compose.yaml")]
    done = subprocess.run([*words, "config", "--quiet"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_all_that_share_a_workspace_are_the_same_user() -> None:
    uid = of("USER")[-1].split(":")[0]
    assert f"useradd --uid {uid}" in " ".join(of("RUN"))
    for name, pod, _ in pods():
        if name != "fibreflow-postgres":
            assert str(pod["securityContext"]["runAsUser"]) == uid


# ------------------------------------------------------------------- Kubernetes


def objects(*, applied: bool = True) -> list[dict[str, Any]]:
    """What is applied, or all that there is."""
    listed = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text("utf-8"))["resources"]
    names = listed if applied else [*listed, "secrets.example.yaml"]
    return [o for name in names for o in yaml.safe_load_all((KUBERNETES / name).read_text("utf-8"))]


def named(kind: str) -> dict[str, dict[str, Any]]:
    found = objects(applied=kind != "Secret")
    return {o["metadata"]["name"]: o for o in found if o["kind"] == kind}


def pods() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """The name, the pod's spec, and the object that makes such pods."""
    for made in objects():
        if made["kind"] == "CronJob":
            yield (
                made["metadata"]["name"],
                made["spec"]["jobTemplate"]["spec"]["template"]["spec"],
                made,
            )
        elif made["kind"] == "StatefulSet":
            yield made["metadata"]["name"], made["spec"]["template"]["spec"], made


def test_every_file_is_applied_or_an_example() -> None:
    listed = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text("utf-8"))["resources"]
    there = {p.name for p in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
    assert there == {*listed, "secrets.example.yaml"}
    for made in objects(applied=False):
        assert made["apiVersion"]
        assert made["metadata"]["name"].startswith("fibreflow")


def test_workers_are_a_stateful_set_that_selects_its_own_pods() -> None:
    sets, services = named("StatefulSet"), named("Service")
    assert sets["fibreflow-worker"]["spec"]["replicas"] == 2
    for made in sets.values():
        spec = made["spec"]
        assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
        service = services[spec["serviceName"]]["spec"]
        assert service["clusterIP"] == "None"
        assert service["selector"] == spec["selector"]["matchLabels"]


@pytest.mark.parametrize(
    ("name", "pod", "made"), list(pods()), ids=lambda v: v if isinstance(v, str) else ""
)
def test_a_pod_has_what_it_names_and_no_more_rights_than_it_needs(
    name: str, pod: dict[str, Any], made: dict[str, Any]
) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    volumes = {v["name"] for v in pod.get("volumes", ())}
    volumes |= {v["metadata"]["name"] for v in made["spec"].get("volumeClaimTemplates", ())}
    claims = {v["persistentVolumeClaim"]["claimName"] for v in pod.get("volumes", ())
              if "persistentVolumeClaim" in v}  # fmt: skip
    assert claims <= named("PersistentVolumeClaim").keys()
    (secret,) = named("Secret").values()
    for container in pod["containers"]:
        assert not container["image"].endswith(":latest")
        rights = container["securityContext"]
        assert rights["allowPrivilegeEscalation"] is False
        assert rights["capabilities"] == {"drop": ["ALL"]}
        assert {m["name"] for m in container["volumeMounts"]} <= volumes
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
        for entry in container["env"]:
            reference = entry.get("valueFrom", {}).get("secretKeyRef")
            if reference is not None:
                assert reference["name"] == secret["metadata"]["name"]
                assert reference["key"] in secret["stringData"]
            else:
                assert not re.search("KEY|TOKEN|PASSWORD", entry["name"])
        if container["image"] == IMAGE:
            check_command(container["args"], container["name"])
            known({entry["name"]: "" for entry in container["env"]})
            mounts = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
            assert mounts[WORKSPACE] == "workspace"


def test_the_image_and_the_tag_are_the_same_everywhere() -> None:
    custom = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text("utf-8"))
    (image,) = custom["images"]
    assert f"{image['name']}:{image['newTag']}" == IMAGE
    ours = {c["image"] for _, pod, _ in pods() for c in pod["containers"]} - {
        "postgres:17.2-bookworm"
    }
    assert ours == {IMAGE}
    assert compose()["services"]["postgres"]["image"] == "postgres:17.2-bookworm"


def test_a_run_that_failed_by_itself_is_not_tried_again() -> None:
    job = named("CronJob")["fibreflow-run"]["spec"]["jobTemplate"]["spec"]
    (rule,) = job["podFailurePolicy"]["rules"]
    codes = rule["onExitCodes"]
    assert codes["containerName"] in {c["name"] for c in job["template"]["spec"]["containers"]}
    assert codes["values"] == [1, 2, 3, 4, 5]
    assert job["template"]["spec"]["restartPolicy"] == "Never"


def test_kustomize_puts_it_together() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not here")
    done = subprocess.run(
        ["kubectl", "kustomize", str(KUBERNETES)], capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stderr
    made = list(yaml.safe_load_all(done.stdout))
    assert {o["metadata"]["name"] for o in made} == {o["metadata"]["name"] for o in objects()}


# ----------------------------------------------------------------------- shared


def check_command(words: list[str], name: str) -> None:
    """The program itself can read it."""
    parsed = flags.parse([str(word) for word in words])
    assert parsed.name == name, shlex.join(words)


def known(environment: Mapping[str, str]) -> None:
    """Settings of ours are those that the program reads."""
    read = "\n".join(p.read_text("utf-8") for p in (ROOT / "harness").rglob("*.py"))
    for name in environment:
        if name.startswith(("HARNESS_", "FIBREFLOW_", "ANTHROPIC_", "E2B_")):
            assert f'"{name}"' in read, name
