"""The files in deploy/ as far as they can be tried without a Kubernetes: they parse, fit together, and call what exists."""

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from nas.cli import main
from nas.config import make_config
from nas.preparation import prepare

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
DOCUMENT = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
MANIFESTS = sorted(path for path in DEPLOY.glob("*.yaml") if path.name != "ray-cluster.yaml")


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def objects() -> list[dict[str, Any]]:
    return [each for path in MANIFESTS for each in documents(path)]


def the(kind: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in objects() if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def values_of(key: str, node: Any) -> Iterator[Any]:
    """Every value that stands under this key, at whatever depth."""
    for name, value in node.items() if isinstance(node, dict) else ():
        if name == key:
            yield value
        yield from values_of(key, value)
    for value in node if isinstance(node, list) else ():
        yield from values_of(key, value)


def documented_secrets() -> dict[str, set[str]]:
    """The Secrets that docs/cluster.md has the reader make, with their keys."""
    commands = re.findall(r"kubectl create secret generic (\S+)((?:[^\n]*\\\n)*[^\n]*)", DOCUMENT)
    return {name: set(re.findall(r"--from-literal=(\w+)=", rest)) for name, rest in commands}


@pytest.mark.parametrize("path", sorted(DEPLOY.glob("*.yaml")), ids=lambda path: path.name)
def test_every_file_parses_and_every_object_has_a_kind_and_a_name(path: Path) -> None:
    found = documents(path)
    assert found
    if path in MANIFESTS:
        for each in found:
            assert each["apiVersion"] and each["kind"] and each["metadata"]["name"]


def test_the_secrets_that_are_used_are_made_with_these_keys() -> None:
    made = documented_secrets()
    used = [(each["name"], each["key"]) for manifest in objects() for each in values_of("secretKeyRef", manifest)]
    used += [(name, "auth_token") for manifest in objects() for name in values_of("secretName", manifest)]
    assert {name for name, _ in used} == set(made) == {"nas-postgresql", "nas-ray-token"}
    for name, key in used:
        assert key in made[name], f"docs/cluster.md makes the Secret {name} without {key}"


def test_the_claims_and_config_maps_that_are_used_exist() -> None:
    for manifest in objects():
        for claim in values_of("claimName", manifest):
            the("PersistentVolumeClaim", claim)
        for used in values_of("configMap", manifest):
            the("ConfigMap", used["name"])


def test_volumes_are_mounted_by_names_that_exist() -> None:
    for manifest in objects():
        for pod in [each["spec"] for each in values_of("template", manifest) if "containers" in each.get("spec", {})]:
            there = {volume["name"] for volume in pod.get("volumes", ())}
            there |= {
                claim["metadata"]["name"] for claims in values_of("volumeClaimTemplates", manifest) for claim in claims
            }
            for container in pod["containers"]:
                assert {mount["name"] for mount in container["volumeMounts"]} <= there


def test_the_database_url_leads_to_the_service() -> None:
    (url,) = re.findall(r"--from-literal=url=(\S+)", DOCUMENT)
    user, host, name = re.fullmatch(r"postgresql://(\w+)@([\w-]+)/(\w+)", url).groups()  # type: ignore[union-attr]
    the("Service", host)
    (container,) = the("StatefulSet", host)["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    assert (environment["POSTGRES_USER"], environment["POSTGRES_DB"]) == (user, name)


def test_the_run_file_of_the_job_is_one_and_keeps_its_files_on_the_claim() -> None:
    job = the("RayJob", "nas-digits")["spec"]["rayClusterSpec"]
    config = make_config(tomllib.loads(the("ConfigMap", "nas-search")["data"]["search.toml"]))
    prepare(config)
    groups = [job["headGroupSpec"], *job["workerGroupSpecs"]]
    for group in groups:
        (container,) = group["template"]["spec"]["containers"]
        mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert str(config.weights).startswith(f"{mounted['files']}/")
        assert str(config.checkpoints).startswith(f"{mounted['files']}/")
    (workers,) = job["workerGroupSpecs"]
    (container,) = workers["template"]["spec"]["containers"]
    assert config.workers <= workers["replicas"] * int(container["resources"]["requests"]["cpu"])


def test_the_script_of_the_job_begins_and_resumes_with_command_lines_that_we_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    script = the("ConfigMap", "nas-search")["data"]["search.sh"]
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert the("RayJob", "nas-digits")["spec"]["entrypoint"] == "bash /etc/nas/search.sh"
    run_file = tmp_path / "search.toml"
    run_file.write_text(the("ConfigMap", "nas-search")["data"]["search.toml"])
    values = {'"$NAS_DATABASE"': "absent.db", '"$RAY_ADDRESS"': "127.0.0.1:1", "/etc/nas/search.toml": str(run_file)}
    lines = re.findall(r"\bnas [a-z].*", script)
    assert [line.split()[1] for line in lines] == ["cluster", "status", "search", "resume"]
    for line in lines:
        command = line.split(" > ")[0].split(" || ")[0]
        for variable, value in values.items():
            command = command.replace(variable, value)
        assert "$" not in command
        arguments = shlex.split(command)[1:]
        begins = arguments[0] == "search"
        # With names of things that are not there, what is complained of is them, and not the command line.
        code = main([*arguments, "--dry-run"] if begins else arguments)
        error = capsys.readouterr().err
        assert "see: nas" not in error, error
        assert code == (0 if begins else 2 if arguments[0] == "cluster" else 3), error


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A command `nas` that notes how it was called and ends with the codes of a list, one after the other."""
    command = tmp_path / "nas"
    command.write_text(
        '#!/bin/bash\necho "$1" >> "$CALLS"\ncode=$(head -n 1 "$CODES")\nsed -i 1d "$CODES"\nexit "${code:-0}"\n'
    )
    command.chmod(0o755)
    (tmp_path / "sleep").write_text("#!/bin/bash\n")
    (tmp_path / "sleep").chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("codes", "calls", "ends_with"),
    [
        pytest.param([0, 3, 0], ["cluster", "status", "search"], 0, id="a new search"),
        pytest.param([0, 3, 4], ["cluster", "status", "search"], 4, id="a search that ends badly"),
        pytest.param([4], ["cluster"], 4, id="a cluster in trouble"),
        pytest.param([0, 0, 0], ["cluster", "status", "resume"], 0, id="one that exists"),
        pytest.param([0, 0, 4, 4, 0], ["cluster", "status", *["resume"] * 3], 0, id="whose lease is young"),
        pytest.param([0, 0, 2], ["cluster", "status", "resume"], 2, id="that cannot be resumed so"),
        pytest.param([0, 4, *[4] * 5], ["cluster", "status", *["resume"] * 5], 4, id="whose database went away"),
    ],
)
def test_the_script_of_the_job_does_what_the_exit_codes_ask_for(
    stand_in: Path, codes: list[int], calls: list[str], ends_with: int
) -> None:
    (stand_in / "codes").write_text("".join(f"{code}\n" for code in codes))
    script = the("ConfigMap", "nas-search")["data"]["search.sh"]
    environment = {
        "PATH": f"{stand_in}:/usr/bin:/bin",
        "CALLS": str(stand_in / "calls"),
        "CODES": str(stand_in / "codes"),
        "NAS_DATABASE": "postgresql://nas@nas-postgresql/nas",
        "RAY_ADDRESS": "10.0.0.1:6379",
    }
    done = subprocess.run(["bash", "-c", script], env=environment, check=False)
    assert (stand_in / "calls").read_text().split() == calls
    assert done.returncode == ends_with


def test_the_cluster_of_machines_is_one_that_ray_accepts_and_asks_for_a_token() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    (config,) = documents(DEPLOY / "ray-cluster.yaml")
    prepared = prepare_config(config)
    validate_config(prepared)
    for commands in (prepared["head_start_ray_commands"], prepared["worker_start_ray_commands"]):
        (start,) = [command for command in commands if "ray start" in command]
        subprocess.run(["bash", "-n"], input=start, text=True, check=True)
        exports = dict(each.split("=", 1) for each in start.split("export ")[1].split(";")[0].split())
        assert exports["RAY_AUTH_MODE"] == "token"
        token = exports["RAY_AUTH_TOKEN_PATH"].replace("$HOME", "~")
        assert token in config["file_mounts"]
        assert f"chmod 600 {token}" in config["setup_commands"]


def test_ray_knows_the_variables_of_authentication_that_are_set() -> None:
    import ray.exceptions

    # Where it tells its users how to give a token.
    told = set(re.findall(r"RAY_AUTH_\w+", Path(ray.exceptions.__file__).read_text(encoding="utf-8")))
    used = set(re.findall(r"RAY_AUTH_\w+", "".join(path.read_text() for path in DEPLOY.iterdir()) + DOCUMENT))
    assert used
    assert used <= told


def test_the_ray_of_the_cluster_is_the_one_that_is_pinned() -> None:
    (pin,) = re.findall(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert the("RayJob", "nas-digits")["spec"]["rayClusterSpec"]["rayVersion"] == pin


def test_the_image_has_every_package_of_ours_and_what_it_copies_exists() -> None:
    lines = re.findall(r"^COPY (.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    copied = {name for line in lines for name in line.split()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages <= copied
    assert {project["project"]["readme"], "constraints.txt", "pyproject.toml"} <= copied
    assert all((ROOT / name).exists() for name in copied)
    assert "cluster" in project["project"]["optional-dependencies"]
