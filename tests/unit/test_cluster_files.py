"""The cluster files, as far as that can be known without a cloud: Ray's own schema, resources, privacy, versions."""

import copy
import functools
import gzip
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER_FILES = ["ray_cluster.yaml", "cluster/ray_cluster_gcp.yaml"]
KUBERAY_FILE = "cluster/kuberay_rayjob.yaml"
KUBERAY_FILES = [KUBERAY_FILE, "cluster/kuberay_raycluster.yaml"]
ALL_FILES = [*LAUNCHER_FILES, *KUBERAY_FILES, "cluster/Dockerfile"]


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / name).read_text())


def check_with_ray(config: dict[str, Any]) -> dict[str, Any]:
    """What `ray up` does before it talks to the cloud: fill in defaults, then validate against the schema."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


def ray_version() -> str:
    found = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found
    return found.group(1)


@pytest.fixture(params=LAUNCHER_FILES)
def launcher(request: pytest.FixtureRequest) -> dict[str, Any]:
    return load(request.param)


def test_rays_schema_accepts_the_file(launcher: dict[str, Any]) -> None:
    prepared = check_with_ray(launcher)
    assert set(prepared["available_node_types"]) == {"head", "cpu_worker", "gpu_worker"}
    assert prepared["head_node_type"] == "head"


@pytest.mark.parametrize("where", ["top", "node type", "docker"])
def test_rays_schema_would_catch_a_misspelt_key(launcher: dict[str, Any], where: str) -> None:
    target = {
        "top": launcher,
        "node type": launcher["available_node_types"]["cpu_worker"],
        "docker": launcher["docker"],
    }
    target[where]["idle_timeout_minuts"] = 5
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout_minuts"):
        check_with_ray(launcher)


def test_every_node_type_declares_cpus_and_gpus(launcher: dict[str, Any]) -> None:
    resources = {name: kind["resources"] for name, kind in launcher["available_node_types"].items()}
    assert all(set(found) == {"CPU", "GPU"} for found in resources.values())
    assert resources["head"] == {"CPU": 0, "GPU": 0}, "spot workers come and go, the head must not be overloaded"
    assert resources["cpu_worker"]["GPU"] == 0 < resources["cpu_worker"]["CPU"]
    assert resources["gpu_worker"]["GPU"] > 0


def test_worker_limits_agree(launcher: dict[str, Any]) -> None:
    workers = {name: kind for name, kind in launcher["available_node_types"].items() if name != "head"}
    assert sum(kind["max_workers"] for kind in workers.values()) == launcher["max_workers"]
    assert all(kind["min_workers"] == 0 for kind in workers.values()), "an idle cluster costs the head alone"


def test_workers_are_spot_and_the_head_is_not() -> None:
    aws, gcp = (load(name)["available_node_types"] for name in LAUNCHER_FILES)
    for name in ("cpu_worker", "gpu_worker"):
        assert aws[name]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
        assert gcp[name]["node_config"]["scheduling"]["provisioningModel"] == "SPOT"
    assert "InstanceMarketOptions" not in aws["head"]["node_config"]
    assert "scheduling" not in gcp["head"]["node_config"]


def test_every_aws_node_names_its_own_security_group_and_role() -> None:
    """Without a group of ours, Ray makes one with port 22 open to the world; without a profile, a powerful role."""
    for name, kind in load("ray_cluster.yaml")["available_node_types"].items():
        assert kind["node_config"]["SecurityGroupIds"], name
        assert kind["node_config"]["IamInstanceProfile"]["Name"], name
        assert kind["node_config"]["MetadataOptions"]["HttpTokens"] == "required", name


def test_every_process_starts_with_token_authentication(launcher: dict[str, Any]) -> None:
    assert "--env RAY_AUTH_MODE=token" in launcher["docker"]["run_options"]
    assert launcher["file_mounts"]["/home/ray/.ray/auth_token"] == "~/.ray/auth_token"


def test_servers_listen_on_loopback_only(launcher: dict[str, Any]) -> None:
    head = " ".join(launcher["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in head
    assert "mlflow server --host 127.0.0.1" in head


@pytest.mark.parametrize("name", ALL_FILES)
def test_nothing_is_open_and_nothing_is_secret(name: str) -> None:
    text = (ROOT / name).read_text()
    for pattern in (
        r"0\.0\.0\.0",
        r"::/0",
        r"AKIA[0-9A-Z]{16}",
        r"RAY_AUTH_TOKEN[=:](?!\"\$\()",
        r"(?i)password",
        r"BEGIN .*KEY",
    ):
        assert not re.search(pattern, text), f"{name}: {pattern}"


@pytest.mark.parametrize("name", ALL_FILES)
def test_ray_versions_agree_with_constraints(name: str) -> None:
    """`ray job submit` and workers of another version than the head's refuse to work together."""
    text = (ROOT / name).read_text()
    versions = re.findall(r"rayproject/ray:([\d.]+\d)|-ray([\d.]+\d)|rayVersion: \"([\d.]+)\"", text)
    assert versions
    assert {version for found in versions for version in found if version} == {ray_version()}


def test_the_project_is_installed_under_its_constraints(launcher: dict[str, Any]) -> None:
    assert launcher["file_mounts"]["/home/ray/stepward"] == "."
    (install,) = [line for line in launcher["setup_commands"] if "pip install" in line]
    assert "-c ~/stepward/constraints.txt" in install
    assert {".git", ".venv"} <= set(launcher["rsync_exclude"])


def resources_of(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a file asks of KubeRay, and the network policy beside it."""
    asked, policy = yaml.safe_load_all((ROOT / name).read_text())
    return asked, policy


@functools.cache
def kuberay_schemas() -> dict[str, Any]:
    """The published resource definitions, without their descriptions; fields that they do not know are refused."""
    return closed(json.loads(gzip.decompress((Path(__file__).parent / "kuberay/schema-v1.json.gz").read_bytes())))


def closed(schema: Any) -> Any:
    """A schema of Kubernetes as JSON Schema: objects have no other fields, and texts may stand for whole numbers."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        found.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        found.pop("type", None)
    return found


@pytest.mark.parametrize("name", KUBERAY_FILES)
def test_kuberays_definitions_accept_the_file(name: str) -> None:
    asked, _ = resources_of(name)
    jsonschema.validate(asked, kuberay_schemas()[asked["kind"]])
    cluster = asked["spec"].get("rayClusterSpec", asked["spec"])
    cluster["workerGroupSpecs"][0]["maxReplica"] = 3
    with pytest.raises(jsonschema.ValidationError, match="maxReplica"):
        jsonschema.validate(asked, kuberay_schemas()[asked["kind"]])


@pytest.mark.parametrize("name", KUBERAY_FILES)
def test_kuberay_files_are_well_formed(name: str) -> None:
    asked, policy = resources_of(name)
    cluster = asked["spec"].get("rayClusterSpec", asked["spec"])
    assert cluster["authOptions"] == {"mode": "token"} and cluster["enableInTreeAutoscaling"]
    groups = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    assert set(groups) == {"cpu-worker", "gpu-worker"}
    for group in groups.values():
        (container,) = group["template"]["spec"]["containers"]
        limits = container["resources"]["limits"]
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert group["rayStartParams"]["num-cpus"] == limits["cpu"]
        assert group["rayStartParams"]["num-gpus"] == limits.get("nvidia.com/gpu", "0")
        assert limits == container["resources"]["requests"], (
            "Ray plans with what is certain, so nothing is overcommitted"
        )
    assert groups["gpu-worker"]["rayStartParams"]["num-gpus"] == "1"
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"

    label = policy["spec"]["podSelector"]["matchLabels"]
    pods = [cluster["headGroupSpec"], *groups.values()]
    if asked["kind"] == "RayJob":
        assert asked["spec"]["entrypoint"].split()[1].startswith("/home/ray/stepward/jobs/")
        pods.append({"template": asked["spec"]["submitterPodTemplate"]})
    assert all(pod["template"]["metadata"]["labels"] == label for pod in pods), "the policy covers every pod"


@pytest.mark.parametrize("name", KUBERAY_FILES)
def test_kuberay_runs_one_image(name: str) -> None:
    images = set(re.findall(r"image: (\S+)", (ROOT / name).read_text()))
    assert len(images) == 1
    built = re.search(r"-t REGISTRY/(\S+)", (ROOT / "cluster/Dockerfile").read_text())
    assert built
    assert images == {f"REPLACE_ME/{built.group(1)}"}
