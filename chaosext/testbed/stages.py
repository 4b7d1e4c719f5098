"""The stages of a bring-up. Each first checks whether it is done already.

Independent stages run in parallel: the leaf starts and manifests are applied while kind is still joining
workers.
"""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from chaosext.model.errors import ChaosextError, Unreachable
from chaosext.nodes.frr import ESTABLISHED
from chaosext.testbed import (
    commands,
    containers,
    delivery,
    dns_install,
    istio_install,
    kubeconfig_entry,
    leaf,
    node_local_cache,
    shop_install,
)
from chaosext.testbed.bed_choices import DnsChoice
from chaosext.testbed.bed_sessions import (
    NONE_BY_DESIGN,
    NOTHING_REPORTED,
    bgp_state,
    leaf_states,
    read_sessions,
)
from chaosext.testbed.commands import CommandFailed
from chaosext.testbed.health import kube_dns_homes, make_status, missing_kube_dns
from chaosext.testbed.kubectl import Kubectl, first_control_plane, namespace, parse_documents
from chaosext.testbed.leaf import LeafPlan
from chaosext.testbed.networks.catalogue import network_for
from chaosext.testbed.networks.network_setup import NetworkInputs
from chaosext.testbed.wait import GaveUp, NotInTime, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from chaosext.testbed.bed_sessions import BedSessions
    from chaosext.testbed.config import Blueprint
    from chaosext.testbed.containers import NodeContainer
    from chaosext.testbed.dns_install import Homes
    from chaosext.testbed.health import BedStatus
    from chaosext.testbed.kubectl import Manifest
    from chaosext.testbed.node_images import ImageSet
    from chaosext.testbed.stage_progress import Progress

# Timeouts in seconds, generous for two busy cores; on an idle machine each stage takes a fraction of its own.
CONTAINERS_S = 120
API_S = 300
NODES_READY_S = 240
BGP_S = 180
ROLLOUT_S = 300
STEADY_S = 120
GONE_S = 60
DEFINED_S = 30
DEFINITION = "CustomResourceDefinition"
CNI_PLUGINS = "/opt/cni/bin"
NODES_LOOK = (
    "see `kubectl describe nodes`; if a kubelet logs `too many open files`, this machine is out of inotify "
    "instances: run `sysctl fs.inotify.max_user_instances=512`"
)
UNPACK_S = 60
SLICE_S = 5
JOINED_SCRIPT = "if test -s /etc/kubernetes/kubelet.conf; then echo yes; else echo no; fi"
"""Looks for a kubelet's credentials.

`kubeadm init` writes them; after `kubeadm join`, the kubelet does, once it is admitted.
"""

STAGES_AT_ONCE = 15
PLACEMENT_ATTEMPTS = 3
MISSING_SHOWN = 6


class BringUp:
    """One run of `up`: its stages and their shared state."""

    def __init__(
        self, blueprint: Blueprint, images: ImageSet, progress: Progress, status: Callable[[], BedStatus]
    ) -> None:
        self.blueprint = blueprint
        self.images = images
        self.progress = progress
        self.status = status
        self.options = blueprint.options
        self.network = network_for(blueprint.options)
        self.kubectl = Kubectl(first_control_plane(blueprint.name))
        self.stop = threading.Event()

    def run(self) -> BedStatus:
        try:
            self.drop_half_made_nodes()
            self.run_stages()
            return self.verify()
        except (CommandFailed, NotInTime) as error:
            raise NotInTime(
                f"testbed {self.blueprint.name} is not up: {error}", self.what_is_missing()
            ) from error

    def run_stages(self) -> None:
        """Run all stages in parallel; each waits for those that it needs.

        The first failure ends the waits of all others.
        """
        with ThreadPoolExecutor(max_workers=STAGES_AT_ONCE) as pool:
            made = pool.submit(self.create_nodes)
            leaf_ips = pool.submit(self.start_leafs)
            api = pool.submit(self.await_api)
            held = pool.submit(self.hold_kube_dns, api)
            applied = pool.submit(self.apply_network, api, leaf_ips)
            ready = pool.submit(self.await_nodes, made, applied)
            marked = pool.submit(self.mark_nodes, made, leaf_ips)
            placed = pool.submit(self.place_kube_dns, held, ready)
            # Workers are cordoned while kube-dns is placed on the control plane, and uncordoned one by one.
            on_control_plane = self.options.dns_in_force is DnsChoice.ON_CONTROL_PLANE
            schedulable = placed if on_control_plane else ready
            stages: list[Future[Any]] = [
                made,
                leaf_ips,
                api,
                held,
                applied,
                ready,
                pool.submit(self.unpack_images, leaf_ips),
                pool.submit(self.deliver_images, leaf_ips),
                pool.submit(self.prepare_nodes, api, leaf_ips),
                marked,
                pool.submit(self.await_sessions, ready, marked),
                placed,
                pool.submit(self.start_node_caches, api, ready),
                pool.submit(self.start_mesh_and_shop, applied, schedulable),
                pool.submit(self.start_clients, schedulable),
            ]
            try:
                wait(stages, return_when=FIRST_EXCEPTION)
            finally:
                self.stop.set()
        _raise_first(stages)

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Run a stage of the progress. Raises `GaveUp` if another stage has failed."""
        if self.stop.is_set():
            raise GaveUp(f"not started: {title}")
        with self.progress.stage(title):
            yield

    def drop_half_made_nodes(self) -> None:
        """Remove the nodes of an interrupted `kind create`: kind can't resume it.

        An API server that does not answer is not a sign of that, as it may be starting; a later stage waits
        for it.
        """
        machines = self.machines()
        if not machines:
            return
        with self.stage("Inspect the existing nodes"):
            containers.start_stopped(machines)
            complete = self.all_joined()
        if not complete:
            with self.stage("Remove the nodes of an interrupted start"):
                containers.remove(machines)

    def all_joined(self) -> bool:
        """Return whether kubeadm has finished on every node, by the nodes' own files."""
        nodes = self.nodes()
        if len(nodes) != self.blueprint.control_planes + self.blueprint.workers:
            return False
        return all(containers.node_script(each.name, JOINED_SCRIPT).strip() == "yes" for each in nodes)

    def create_nodes(self) -> None:
        name = self.blueprint.name
        if not self.machines():
            shape = f"{self.blueprint.control_planes} + {self.blueprint.workers} nodes"
            with self.stage(f"Create {shape} with kind"):
                commands.create_cluster(
                    self.images.kind, self.blueprint, self.images.node_image, self.images.kubernetes
                )
        elif not kubeconfig_entry.has_context(self.blueprint.context):
            commands.export_kubeconfig(self.images.kind, name)
        if self.blueprint.control_planes > 1:
            kubeconfig_entry.lead_to(
                self.blueprint.context, kubeconfig_entry.server_of(self.kubectl.control_plane)
            )

    def start_leafs(self) -> tuple[str, ...]:
        """Start the leafs as soon as the nodes have addresses; returns theirs, with which the nodes peer."""
        wait_until(
            self.node_addresses,
            what="every node's address", look="see `docker ps --all`", timeout_s=CONTAINERS_S, stop=self.stop,
        )  # fmt: skip
        with self.stage("Start the leaf"):
            found: tuple[str, ...] = ()
            for index in range(len(self.network.leaf_as_numbers)):
                plan = self.leaf_plan(index, first_leaf=found[0] if found else "")
                found += (leaf.start_leaf(self.blueprint.name, plan, self.images.leaf_image),)
            return found

    def leaf_plan(self, index: int, *, first_leaf: str) -> LeafPlan:
        network = self.network
        peers = [each for each in self.nodes() if network.has_leaf_session(each)]
        return LeafPlan(
            index=index,
            as_number=network.leaf_as_numbers[index],
            nodes=tuple(each.ipv4 for each in peers if network.leaf_of(each) == index),
            pod_subnet=self.blueprint.pod_subnet,
            first_leaf=first_leaf,
            is_only=len(network.leaf_as_numbers) == 1,
        )

    def unpack_images(self, leaf_ips: Future[tuple[str, ...]]) -> None:
        """Unpack images while workers wait for the control plane; what fails here happens at its Pod's start."""
        leaf_ips.result()
        names = (*self.network.agent_images(self.images), *self.images.in_cluster_images)
        script = containers.unpack_script(names)
        for machine in self.machines():
            if machine.role == "worker":
                with suppress(CommandFailed):
                    containers.node_script(machine.name, script, timeout_s=UNPACK_S)

    def deliver_images(self, leaf_ips: Future[tuple[str, ...]]) -> None:
        leaf_ips.result()  # so that the nodes' containers exist
        delivery.deliver(self.machines(), self.images.delivered, self.stage)

    def prepare_nodes(self, api: Future[None], leaf_ips: Future[tuple[str, ...]]) -> None:
        """Copy the network's CNI plugins onto each node, and run its script there."""
        inputs = self.network_inputs(leaf_ips.result())
        api.result()
        for node in inputs.nodes:
            for plugin in self.network.plugins:
                source = self.images.networks.plugin(plugin)
                containers.docker("cp", str(source), f"{node.name}:{CNI_PLUGINS}/{plugin}")
            if script := self.network.node_script(inputs, node):
                containers.node_script(node.name, script)

    def apply_network(self, api: Future[None], leaf_ips: Future[tuple[str, ...]]) -> None:
        """Apply the network's objects, batch by batch."""
        batches = self.network.batches(self.network_inputs(leaf_ips.result()))
        api.result()
        with self.stage(f"Apply the network {self.options.network}"):
            for batch in batches:
                self.kubectl.apply(batch)
                kinds = [each["metadata"]["name"] for each in batch if each["kind"] == DEFINITION]
                if kinds:
                    names = [f"crd/{name}" for name in kinds]
                    self.kubectl.wait("--for=condition=Established", *names, timeout_s=DEFINED_S)

    def network_inputs(self, leaf_ips: tuple[str, ...]) -> NetworkInputs:
        """Return what the network's manifests and scripts are made from; all nodes have their address by now."""
        blueprint = self.blueprint
        return NetworkInputs(
            pod_subnet=blueprint.pod_subnet,
            service_subnet=blueprint.service_subnet,
            nodes=self.nodes(),
            leaf_ips=leaf_ips,
            api_host=self.kubectl.control_plane if blueprint.control_planes == 1 else "",
            images=self.images,
        )

    def hold_kube_dns(self, api: Future[None]) -> None:
        """Prevent kube-dns Pods until workers are Ready: the control plane is Ready first, and would get them."""
        api.result()
        if self.options.dns_in_force is DnsChoice.DNS_DAEMONSET and not self.has_kube_dns_deployment():
            return
        if patch := dns_install.deployment_patch_json(self.options.mitigations):
            self.kubectl.run("patch", *dns_install.TARGET, "--type=strategic", f"--patch={patch}")
        if not self.kube_dns_is_placed():
            self.kubectl.run("scale", *dns_install.TARGET, "--replicas=0")

    def mark_nodes(self, made: Future[None], leaf_ips: Future[tuple[str, ...]]) -> None:
        """Apply the network's labels and annotations once all nodes have joined."""
        made.result()
        if marks := self.network.node_marks(self.network_inputs(leaf_ips.result())):
            self.kubectl.apply(marks)

    def await_sessions(self, ready: Future[None], marked: Future[None]) -> None:
        marked.result()
        ready.result()
        if self.sessions_missing(NOTHING_REPORTED):
            with self.stage("Wait for BGP sessions"):
                wait_until(
                    lambda: not self.sessions_missing(
                        read_sessions(self.blueprint.name, self.network, self.nodes())
                    ),
                    what="every BGP session", look="see `chaosext testbed status`", timeout_s=BGP_S, stop=self.stop,
                )  # fmt: skip

    def sessions_missing(self, seen: BedSessions) -> bool:
        """Whether any BGP session of the network is not established."""
        network, nodes = self.network, self.nodes()
        states = {bgp_state(network, each, nodes, seen)[0] for each in nodes}
        between_leafs = leaf_states(network, leaf.further_leafs(self.blueprint.name), seen)
        return not {*states, *between_leafs.values()} <= {ESTABLISHED, NONE_BY_DESIGN}

    def await_nodes(self, made: Future[None], applied: Future[None]) -> None:
        """Wait until Pods can run: the nodes are Ready, and the workers' CNI plugin is usable."""
        made.result()
        applied.result()
        machines = self.nodes()
        names = [
            f"node/{each.name}" for each in machines
        ]  # not `--all`, which may miss a node that has just joined
        with self.stage("Wait for nodes to be Ready"):
            self.patiently(
                lambda slice_s: self.kubectl.wait("--for=condition=Ready", *names, timeout_s=slice_s),
                what="all nodes Ready", look=NODES_LOOK, timeout_s=NODES_READY_S,
            )  # fmt: skip
            for each in machines:
                if each.role == "worker":
                    self.await_cni(each.name)

    def await_cni(self, node: str) -> None:
        wait_until(
            lambda: _succeeds(lambda: containers.node_script(node, self.network.cni_is_usable)),
            what=f"a usable CNI plugin on {node}",
            look=f"see {self.network.log_command}", timeout_s=NODES_READY_S,
            stop=self.stop,
        )  # fmt: skip

    def place_kube_dns(self, held: Future[None], ready: Future[None]) -> None:
        """Start kube-dns again, with all other nodes cordoned, until its Pods are where they belong."""
        held.result()
        ready.result()
        if self.options.dns_in_force is DnsChoice.DNS_DAEMONSET:
            self.replace_kube_dns()
            return
        homes = self.kube_dns_homes()
        others = [each.name for each in self.nodes() if each.name not in homes.nodes]
        with self.stage(f"Move kube-dns to the {homes.title}"), self.cordoned(others):
            for _ in range(PLACEMENT_ATTEMPTS):
                if self.kube_dns_is_placed():
                    return
                self.kubectl.run("scale", *dns_install.TARGET, "--replicas=0")
                self.kubectl.wait("--for=delete", "pods", *dns_install.PODS, timeout_s=GONE_S)
                self.kubectl.run("scale", *dns_install.TARGET, f"--replicas={dns_install.REPLICAS}")
                self.await_rollout(dns_install.NAMESPACE, f"deployment/{dns_install.DEPLOYMENT}")
        if not self.kube_dns_is_placed():
            look = "see `kubectl --namespace kube-system get pods --output wide`"
            raise NotInTime(f"kube-dns is not on the {homes.title} after {PLACEMENT_ATTEMPTS} attempts", look)

    def replace_kube_dns(self) -> None:
        """Replace kubeadm's Deployment by a DaemonSet behind the same Service."""
        with self.stage("Start kube-dns on each node"):
            if self.has_kube_dns_deployment():
                deployment = self.kubectl.get(*dns_install.TARGET)
                everywhere = self.options.control_plane_is_reached
                self.kubectl.apply([dns_install.daemon_set(deployment, everywhere=everywhere)])
                self.kubectl.run("delete", *dns_install.TARGET)
            self.await_rollout(dns_install.NAMESPACE, f"daemonset/{dns_install.DEPLOYMENT}")

    def has_kube_dns_deployment(self) -> bool:
        """Return whether kubeadm's Deployment has not been replaced yet."""
        return self.kubectl.exists(dns_install.NAMESPACE, f"deployment/{dns_install.DEPLOYMENT}")

    def start_node_caches(self, api: Future[None], ready: Future[None]) -> None:
        """Start a DNS cache on each node, if the options say so, at the address that kubelets give to Pods."""
        if not self.options.caches_on_nodes:
            return
        api.result()
        for machine in self.machines():
            if machine.is_kubernetes_node:
                containers.node_script(machine.name, node_local_cache.ADDRESS_SCRIPT)
        ready.result()
        space, name = node_local_cache.WORKLOAD
        coredns = self.kubectl.get(*dns_install.TARGET)["spec"]["template"]["spec"]["containers"][0]
        objects = node_local_cache.cache_objects(
            service_subnet=self.blueprint.service_subnet,
            image=coredns["image"],
            serves_stale=self.options.dns_in_force is DnsChoice.NODELOCAL_SERVE_STALE,
        )
        with self.stage("Start a DNS cache on each node"):
            self.kubectl.apply(objects)
            self.await_rollout(space, f"daemonset/{name}")

    def start_mesh_and_shop(self, applied: Future[None], ready: Future[None]) -> None:
        """Start istiod, if there is a mesh, then the shop, so that all Pods of it are injected and spread."""
        if self.options.is_meshed:
            self.start_mesh(applied, ready)
        ready.result()
        self.start_shop()

    def start_mesh(self, applied: Future[None], ready: Future[None]) -> None:
        base, istiod = self.render_istio()
        applied.result()
        with self.stage("Apply Istio's definitions"):
            self.kubectl.apply([namespace(istio_install.NAMESPACE)])
            self.kubectl.apply_text(base)
        ready.result()
        with self.stage("Start istiod"):
            self.kubectl.apply(istiod)
            self.await_rollout(istio_install.NAMESPACE, "deployment/istiod")

    def render_istio(self) -> tuple[str, list[Manifest]]:
        """Return chart base as YAML text (long, and unchanged), and istiod's objects with chaosext's overlay."""
        images, charts = self.images, self.images.istio_charts
        values = istio_install.istiod_values(
            hub=images.istio_hub,
            tag=images.istio_tag,
            sidecars=self.options.sidecars,
            captures_dns=self.options.captures_dns,
        )
        discovery = charts / "istio-control" / "istio-discovery"
        base = istio_install.render(
            images.helm, charts / "base", release="istio-base", values=istio_install.base_values()
        )
        istiod = istio_install.render(images.helm, discovery, release="istiod", values=values)
        return base, istio_install.overlay(parse_documents(istiod))

    def start_clients(self, ready: Future[None]) -> None:
        ready.result()
        self.kubectl.apply(
            shop_install.client_objects(image=self.images.client_image, workers=self.blueprint.workers)
        )

    def start_shop(self) -> None:
        with self.stage("Start the shop"):
            self.kubectl.apply(
                shop_install.shop_objects(
                    image=self.images.shop_image,
                    workers=self.blueprint.workers,
                    meshed=self.options.is_meshed,
                )
            )
            for service in shop_install.SERVICES:
                self.await_rollout(shop_install.NAMESPACE, f"deployment/{service}")

    def await_rollout(self, space: str, workload: str) -> None:
        self.patiently(
            lambda slice_s: self.kubectl.rollout(space, workload, timeout_s=slice_s),
            what=f"{workload} in {space}",
            look=f"see `kubectl --namespace {space} describe pods`", timeout_s=ROLLOUT_S,
        )  # fmt: skip

    def patiently(self, call: Callable[[float], None], *, what: str, look: str, timeout_s: float) -> None:
        """Repeat a wait of kubectl in short slices, so that another stage's failure ends it soon."""
        wait_until(
            lambda: _succeeds(lambda: call(SLICE_S)),
            what=what,
            look=look,
            timeout_s=timeout_s,
            stop=self.stop,
        )

    def verify(self) -> BedStatus:
        """Wait until the whole testbed is in its steady state; the error names what is missing."""
        with self.progress.stage("Verify the steady state"):
            return wait_until(
                self.steady_status,
                what="the steady state", look="see `chaosext testbed status`", timeout_s=STEADY_S,
                stop=threading.Event(),
            )  # fmt: skip

    def steady_status(self) -> BedStatus | None:
        try:
            found = self.status()
        except (CommandFailed, Unreachable):
            return None
        return found if found.steady else None

    def what_is_missing(self) -> str:
        """Return one line for the error's fix: the first few deviations of the status."""
        try:
            missing = self.status().missing
        except ChaosextError:
            return "the API server does not answer; see `docker ps --all` and `docker logs` of the nodes"
        shown = "; ".join(missing[:MISSING_SHOWN]) or "nothing"
        return f"missing: {shown}; `chaosext testbed up` continues from here"

    def machines(self) -> tuple[NodeContainer, ...]:
        return containers.cluster_containers(self.blueprint.name)

    def nodes(self) -> tuple[NodeContainer, ...]:
        return tuple(each for each in self.machines() if each.is_kubernetes_node)

    def node_addresses(self) -> list[str]:
        """Return the addresses of all nodes; [] until each has one."""
        found = [each.ipv4 for each in self.nodes() if each.ipv4]
        return found if len(found) == self.blueprint.control_planes + self.blueprint.workers else []

    def kube_dns_is_placed(self) -> bool:
        try:
            objects = self.kubectl.get("nodes,pods", "--all-namespaces")
        except CommandFailed:
            return False
        found = make_status(
            objects,
            NOTHING_REPORTED,
            name=self.blueprint.name,
            leaf_ip="",
            record={},
            containers=self.machines(),
        )
        return not missing_kube_dns(kube_dns_homes(self.options, found.nodes), found.pods)

    def kube_dns_homes(self) -> Homes:
        nodes = [each for each in self.machines() if each.is_kubernetes_node]
        names = {
            role: [each.name for each in nodes if each.role == role] for role in ("control-plane", "worker")
        }
        return dns_install.homes_of(self.options, names["control-plane"], names["worker"])

    def await_api(self) -> None:
        """Wait until kubeadm has installed its add-ons, which means that credentials and kube-dns exist."""
        with self.stage("Wait for the API server"):
            wait_until(
                self.api_answers,
                what="the API server", look=f"see `docker logs {self.kubectl.control_plane}`", timeout_s=API_S,
                stop=self.stop,
            )  # fmt: skip
            wait_until(
                lambda: self.kubectl.exists(dns_install.NAMESPACE, f"service/{dns_install.SERVICE}"),
                what="kubeadm's add-ons", look=f"see `docker logs {self.kubectl.control_plane}`", timeout_s=API_S,
                stop=self.stop,
            )  # fmt: skip

    def api_answers(self) -> bool:
        """Return whether the API server is ready.

        Uses curl: kubectl would take CPU time that kubeadm needs then.
        """
        ready = "curl --silent --insecure --fail --max-time 2 https://localhost:6443/readyz"
        try:
            containers.docker("exec", self.kubectl.control_plane, *ready.split())
        except CommandFailed:
            return False
        return True

    @contextmanager
    def cordoned(self, nodes: Sequence[str]) -> Iterator[None]:
        """Keep the scheduler off these nodes while kube-dns is placed."""
        self.kubectl.run("cordon", *nodes)
        try:
            yield
        finally:
            self.kubectl.run("uncordon", *nodes)


def _raise_first(stages: list[Future[Any]]) -> None:
    """Raise the original failure, not that of a stage that gave up because of it."""
    errors = [error for stage in stages if (error := stage.exception()) is not None]
    errors.sort(key=lambda error: isinstance(error, GaveUp))
    if errors:
        raise errors[0]


def _succeeds(call: Callable[[], object]) -> bool:
    try:
        call()
    except CommandFailed:
        return False
    return True
