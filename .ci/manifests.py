"""What rendered manifests must keep to, beyond their schemas.

usage: python3 .ci/manifests.py lint FILE
       python3 .ci/manifests.py agree FILE FILE         whether two run countersign alike
       python3 .ci/manifests.py config FILE             prints the countersign.toml in it
       python3 .ci/manifests.py volumes FILE            prints each volume: NAME KIND SOURCE
       python3 .ci/manifests.py probes FILE             prints the command of each probe of countersign
       python3 .ci/manifests.py play FILE FOLDER        prints a pod for `podman kube play`

`lint` prints each fault and ends with 1 if there is one, `agree` each difference. `play` takes the first replica of the
Deployment: volumes become folders FOLDER/NAME, probes are left out, and a native sidecar becomes
the first container, for Podman 4.3 knows nothing of them.
"""

import re
import sys
import tomllib

import yaml

ALLOWED_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
MEBI = {"Ki": 1 / 1024, "Mi": 1, "Gi": 1024, "KiB": 1 / 1024, "MiB": 1, "GiB": 1024}


class Manifests:
    """All objects of one rendering."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.objects = [one for one in yaml.safe_load_all(file) if one]
        self.faults = []

    def of(self, kind):
        return [one for one in self.objects if one["kind"] == kind]

    def named(self, kind, name):
        return next((one for one in self.of(kind) if one["metadata"]["name"] == name), None)

    def deployment(self):
        (deployment,) = self.of("Deployment")
        return deployment

    def pod(self):
        return self.deployment()["spec"]["template"]["spec"]

    def containers(self):
        return self.pod().get("initContainers", []) + self.pod()["containers"]

    def countersign(self):
        return next(one for one in self.containers() if one["name"] == "countersign")

    def volumes(self):
        return {one["name"]: one for one in self.pod()["volumes"]}

    def config_text(self):
        mounts = {one["mountPath"]: one["name"] for one in self.countersign()["volumeMounts"]}
        volume = self.volumes()[mounts["/etc/countersign"]]
        return self.named("ConfigMap", volume["configMap"]["name"])["data"]["countersign.toml"]

    def expect(self, holds, fault):
        if not holds:
            self.faults.append(fault)


def lint(manifests):
    restricted(manifests)
    container(manifests)
    in_time(manifests)
    in_memory(manifests)
    files(manifests)
    selected(manifests)
    replicas(manifests)
    network(manifests)
    asked(manifests)
    issued(manifests)
    return manifests.faults


def restricted(manifests):
    """The Pod Security Standard `restricted`, and a root that cannot be written."""
    pod = manifests.pod()
    expect = manifests.expect
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        expect(not pod.get(key), f"the pod has {key}")
    for volume in pod["volumes"]:
        expect(ALLOWED_VOLUMES >= set(volume) - {"name"}, f"volume {volume['name']} is of a kind that is not allowed")
    for one in manifests.containers():
        name = one["name"]
        merged = {**pod.get("securityContext", {}), **one.get("securityContext", {})}
        expect(merged.get("runAsNonRoot") is True, f"{name} may run as root")
        expect(merged.get("runAsUser") != 0, f"{name} runs as root")
        expect(merged.get("allowPrivilegeEscalation") is False, f"{name} may gain privileges")
        expect(merged.get("readOnlyRootFilesystem") is True, f"{name} may write its root")
        expect(merged.get("seccompProfile", {}).get("type") == "RuntimeDefault", f"{name} has no seccomp profile")
        expect(merged.get("capabilities") == {"drop": ["ALL"]}, f"{name} has capabilities")
        expect(not merged.get("privileged"), f"{name} is privileged")
        expect(not any(port.get("hostPort") for port in one.get("ports", [])), f"{name} has a port of the host")


def container(manifests):
    one, expect = manifests.countersign(), manifests.expect
    image = one["image"]
    expect(re.search(r"(@sha256:[0-9a-f]{64}|:[^:/]+)$", image) and not image.endswith(":latest"), f"{image} is no version")
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        expect(probe in one, f"countersign has no {probe}")
        expect("tcpSocket" not in one.get(probe, {}), f"{probe} would be a refused handshake each time")
    expect("lifecycle" not in one, "countersign needs no hook: drain_delay does what a preStop would")
    expect("cpu" in one["resources"]["requests"], "countersign asks for no CPU, which the autoscaler goes by")
    for mount in one["volumeMounts"]:
        expect(not {"subPath", "subPathExpr"} & set(mount), f"{mount['name']} is mounted with a subPath, which is never renewed")
        expect(mount.get("readOnly") is True, f"{mount['name']} may be written")


def in_time(manifests):
    """The pod is not killed before the drain is over."""
    server = tomllib.loads(manifests.config_text())["server"]
    needed = seconds(server.get("drain_timeout", "30s"))
    for one in manifests.pod()["containers"]:
        # The application ends first, after its own pause.
        pause = one.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        needed += pause if one["name"] != "countersign" else 0
        # And takes its time for it, which no manifest says.
        needed += 15 if one["name"] != "countersign" else 0
    grace = manifests.pod()["terminationGracePeriodSeconds"]
    manifests.expect(grace > needed, f"the pod is killed after {grace} s, and needs {needed} s")
    if is_gateway(manifests):
        manifests.expect("drain_delay" in server, "new connections are refused before every node knows that the pod leaves")


def in_memory(manifests):
    server = tomllib.loads(manifests.config_text())["server"]
    limit = mebibytes(manifests.countersign()["resources"]["limits"]["memory"])
    most = mebibytes(server.get("max_memory", "1024GiB"))
    manifests.expect(most <= limit * 3 / 4, f"max_memory is {most} MiB, and the container has {limit} MiB")


def files(manifests):
    """Whatever the config names is in a volume; what is secret is not for everybody."""
    places = [one["mountPath"] for one in manifests.countersign()["volumeMounts"]]
    for path in re.findall(r'"(/[^"]*)"', re.sub(r"(?m)#.*$", "", manifests.config_text())):
        if path.startswith("/run/"):
            inside = any(path.rstrip("/") == place or path.startswith(place + "/") for place in places)
            manifests.expect(inside, f"{path} is in no volume")
    for volume in manifests.volumes().values():
        if "secret" in volume:
            mode = volume["secret"].get("defaultMode", 0o644)
            manifests.expect(mode & 0o077 == 0o040, f"volume {volume['name']} has mode {mode:o}")
    manifests.expect(manifests.pod().get("securityContext", {}).get("fsGroup") == 65532, "no group may read the secrets")


def selected(manifests):
    """Whatever selects pods selects these, and names ports that they have."""
    labels = manifests.deployment()["spec"]["template"]["metadata"]["labels"]
    named = {port["name"]: port["containerPort"] for one in manifests.containers() for port in one.get("ports", [])}
    known = set(named) | set(named.values())

    def selects(selector, what):
        manifests.expect(selector and selector.items() <= labels.items(), f"{what} selects other pods")

    selects(manifests.deployment()["spec"]["selector"]["matchLabels"], "the Deployment")
    for service in manifests.of("Service"):
        selects(service["spec"]["selector"], f"Service {service['metadata']['name']}")
        for port in service["spec"]["ports"]:
            manifests.expect(port["targetPort"] in known, f"no container has the port {port['targetPort']}")
    for spread in manifests.pod().get("topologySpreadConstraints", []):
        selects(spread["labelSelector"]["matchLabels"], "a topologySpreadConstraint")
    for budget in manifests.of("PodDisruptionBudget"):
        selects(budget["spec"]["selector"]["matchLabels"], "the PodDisruptionBudget")
    for policy in manifests.of("NetworkPolicy"):
        selects(policy["spec"]["podSelector"]["matchLabels"], f"NetworkPolicy {policy['metadata']['name']}")
        for rule in policy["spec"]["ingress"]:
            for port in rule.get("ports", []):
                manifests.expect(port["port"] in known, f"no container has the port {port['port']}")
    for monitor in manifests.of("ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"]
        found = [one for one in manifests.of("Service") if wanted.items() <= one["metadata"]["labels"].items()]
        manifests.expect(len(found) == 1, f"the ServiceMonitor selects {len(found)} Services")
        for endpoint in monitor["spec"]["endpoints"]:
            there = any(port["name"] == endpoint["port"] for one in found for port in one["spec"]["ports"])
            manifests.expect(there, f"the ServiceMonitor asks for the port {endpoint['port']}")
        # Which deploy/observability/alerts.yaml ask for; without the label it is the name of the Service.
        jobs = {one["metadata"]["labels"].get(monitor["spec"].get("jobLabel")) for one in found}
        manifests.expect(jobs == {"countersign"}, f"the ServiceMonitor gives the job {jobs}, and the alerts ask for countersign")


def replicas(manifests):
    """There are two, and one of them stays."""
    deployment = manifests.deployment()
    scalers = manifests.of("HorizontalPodAutoscaler")
    for scaler in scalers:
        target = scaler["spec"]["scaleTargetRef"]
        same = (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
        manifests.expect(same, "the autoscaler scales something else")
        manifests.expect(scaler["spec"]["minReplicas"] >= 2, "the autoscaler leaves one replica")
        manifests.expect("replicas" not in deployment["spec"], "the Deployment and the autoscaler both say how many")
    manifests.expect(scalers or deployment["spec"].get("replicas", 1) >= 2, "there is one replica")
    manifests.expect(manifests.of("PodDisruptionBudget"), "there is no PodDisruptionBudget")
    manifests.expect(deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0, "a rollout takes replicas away first")
    config = tomllib.loads(manifests.config_text())
    manifests.expect("session_ticket_keys" in config["server"], "no session goes on with another replica")
    if is_gateway(manifests):
        spread = {one["topologyKey"] for one in manifests.pod().get("topologySpreadConstraints", [])}
        manifests.expect(spread >= {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}, "replicas are not spread")
        workers, asked_for = config["server"].get("workers"), processors(manifests.countersign()["resources"]["requests"]["cpu"])
        manifests.expect(workers == asked_for, f"{workers} workers, and {asked_for} processors are asked for: the autoscaler goes by these")


def network(manifests):
    """Nobody but those who are named reaches the admin port; the application is not reached at all."""
    config = tomllib.loads(manifests.config_text())
    host, _, admin = config["admin"]["bind"].rpartition(":")
    policies = manifests.of("NetworkPolicy")
    manifests.expect(policies, "there is no NetworkPolicy")
    for policy in policies:
        for rule in policy["spec"]["ingress"]:
            manifests.expect(rule.get("ports"), f"NetworkPolicy {policy['metadata']['name']} opens every port")
            opens = any(first <= int(admin) <= last for first, last in map(span(manifests), rule.get("ports", [])))
            manifests.expect(not opens or rule.get("from"), "everybody reaches the admin port")
        if "Egress" in policy["spec"]["policyTypes"]:
            rules = [port for rule in policy["spec"].get("egress", []) for port in rule.get("ports", [])]
            wanted = {("UDP", 53), ("TCP", 53)}
            for upstream in config["upstreams"].values():
                wanted |= {("TCP", int(end.rpartition(":")[2])) for end in upstream["endpoints"] if "//127." not in end}
            missing = wanted - {(port["protocol"], port["port"]) for port in rules}
            manifests.expect(not missing, f"NetworkPolicy {policy['metadata']['name']} lets nothing out to {sorted(missing)}")
    for service in manifests.of("Service"):
        if service["metadata"]["labels"].get("app.kubernetes.io/component") != "metrics":
            ports = {port["targetPort"] for port in service["spec"]["ports"]}
            manifests.expect(not ports & {"admin", int(admin)}, "the Service that callers use has the admin port")
    if not is_gateway(manifests):
        manifests.expect(host == "127.0.0.1", "the admin address of a sidecar is not on loopback")


def asked(manifests):
    """Probes ask where the admin address is, and Services lead to where the listeners are."""
    config, one, expect = tomllib.loads(manifests.config_text()), manifests.countersign(), manifests.expect
    host, _, admin = config["admin"]["bind"].rpartition(":")
    secured = "tls" in config["admin"]
    for name, path in (("startupProbe", "/readyz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/healthz")):
        probe = one[name]
        if "httpGet" in probe:
            get = probe["httpGet"]
            expect(span(manifests)(get)[0] == int(admin) and get["path"] == path, f"{name} does not ask the admin address")
            expect(not host.startswith("127."), f"{name} asks from without, and the admin address is on loopback")
            expect((get.get("scheme") == "HTTPS") == secured, f"{name} and the admin address disagree about TLS")
        elif secured:
            expect("--config" in probe["exec"]["command"], f"{name} and the admin address disagree about TLS")
        else:
            expect(probe["exec"]["command"][-1] == f"http://127.0.0.1:{admin}{path}", f"{name} does not ask the admin address")
    listening = {int(listener["bind"].rpartition(":")[2]) for listener in config["listeners"].values()}
    for service in manifests.of("Service"):
        for port in service["spec"]["ports"]:
            to = span(manifests)({"port": port["targetPort"]})[0]
            expect(to in listening | {int(admin)}, f"Service {service['metadata']['name']} leads to {to}, where nothing listens")
            expect("appProtocol" not in port, "an appProtocol has some clouds ask for health without a certificate")


def span(manifests):
    """From the port of a rule or probe, by number or by name, to the first and the last that it means."""
    named = {port["name"]: port["containerPort"] for one in manifests.containers() for port in one.get("ports", [])}

    def of(port):
        first = named.get(port["port"], port["port"])
        return first, port.get("endPort", first)

    return of


def issued(manifests):
    """What cert-manager and trust-manager make is what the pod mounts."""
    secrets = {volume["secret"]["secretName"] for volume in manifests.volumes().values() if "secret" in volume}
    maps = {volume["configMap"]["name"] for volume in manifests.volumes().values() if "configMap" in volume}
    for certificate in manifests.of("Certificate"):
        manifests.expect(certificate["spec"]["secretName"] in secrets, "the certificate goes to a Secret that is not mounted")
        manifests.expect("server auth" in certificate["spec"]["usages"], "the certificate is not for a server")
    for bundle in manifests.of("Bundle"):
        manifests.expect(bundle["metadata"]["name"] in maps, f"bundle {bundle['metadata']['name']} is not mounted")


def run(manifests):
    """How countersign is run, without the names of objects and volumes."""
    one, pod = manifests.countersign(), manifests.pod()
    kinds = {name: source(volume)[0] for name, volume in manifests.volumes().items()}
    alike = {key: one.get(key) for key in ("args", "ports", "resources", "restartPolicy")}
    alike |= {key: pod.get(key) for key in ("terminationGracePeriodSeconds", "enableServiceLinks")}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        alike[probe] = one[probe]
    user = {key: value for key, value in pod["securityContext"].items() if key != "fsGroup"}
    alike["securityContext"] = {**user, **one["securityContext"]}
    alike["fsGroup"] = pod["securityContext"]["fsGroup"]
    alike["mounts"] = sorted((mount["mountPath"], kinds[mount["name"]]) for mount in one["volumeMounts"])
    alike["config"] = manifests.config_text().strip()
    return alike


def agree(one, other):
    first, second = run(one), run(other)
    return [f"{key}: {first[key]!r} and {second[key]!r}" for key in first if first[key] != second[key]]


def is_gateway(manifests):
    return manifests.countersign() in manifests.pod()["containers"]


def seconds(duration):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", duration).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]


def processors(quantity):
    return int(quantity[:-1]) / 1000 if str(quantity).endswith("m") else float(quantity)


def mebibytes(size):
    number, unit = re.fullmatch(r"(\d+)([A-Za-z]+)", size).groups()
    return int(number) * MEBI[unit]


def source(volume):
    if "secret" in volume:
        return "Secret", volume["secret"]["secretName"]
    return "ConfigMap", volume["configMap"]["name"]


def play(manifests, folder):
    """One pod of the Deployment."""
    template = manifests.deployment()["spec"]["template"]
    pod = template["spec"]
    pod["containers"] = pod.pop("initContainers", []) + pod["containers"]
    for one in pod["containers"]:
        for key in ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle", "restartPolicy", "ports"):
            one.pop(key, None)
        one["imagePullPolicy"] = "Never"
    for key in ("topologySpreadConstraints", "imagePullSecrets"):
        pod.pop(key, None)
    pod["volumes"] = [
        {"name": one["name"], "hostPath": {"path": f"{folder}/{one['name']}", "type": "Directory"}} for one in pod["volumes"]
    ]
    # What ends stays ended, to be looked at.
    pod["restartPolicy"] = "Never"
    name = manifests.deployment()["metadata"]["name"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **template["metadata"]}, "spec": pod}


def main():
    command, manifests = sys.argv[1], Manifests(sys.argv[2])
    if command == "lint":
        print("\n".join(lint(manifests)))
        sys.exit(1 if manifests.faults else 0)
    elif command == "agree":
        differences = agree(manifests, Manifests(sys.argv[3]))
        print("\n".join(differences))
        sys.exit(1 if differences else 0)
    elif command == "config":
        print(manifests.config_text())
    elif command == "volumes":
        for volume in manifests.volumes().values():
            print(volume["name"], *source(volume))
    elif command == "probes":
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            print(*manifests.countersign()[probe]["exec"]["command"])
    elif command == "play":
        print(yaml.safe_dump(play(manifests, sys.argv[3]), sort_keys=False))


main()
