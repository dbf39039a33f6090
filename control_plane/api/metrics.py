"""``/metrics`` for Prometheus: processes, health, collectors, stores, alerts, nodes, ourselves.

Values come from what is known already; a scrape asks no device, no node and no store.
"""

import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

from flask import Blueprint, Response, g, request

from control_plane.api.identity import actor_with, identify
from control_plane.api.metrics_text import CONTENT_TYPE, Family, exposition
from control_plane.auth.permissions import Permission
from control_plane.bootstrap import ControlPlane
from control_plane.domain.alerts import AlertSeverity, AlertState
from control_plane.domain.process import Desired, ProcessStatus
from control_plane.domain.storage import StorageView
from control_plane.telemetry.storage_status import look_at_storage
from control_plane.version import VERSION

_MB: Final = 1_000_000
_MS: Final = 0.001
_OPEN: Final = (AlertState.FIRING, AlertState.ACKNOWLEDGED, AlertState.SHELVED)


def metrics_blueprint(plane: ControlPlane) -> Blueprint:
    """The route ``/metrics``: any token or session; from this machine without, if so set."""
    blueprint = Blueprint("metrics", __name__)

    @blueprint.get("/metrics")
    def metrics() -> Response:
        if not (plane.console.settings.metrics_on_loopback and _is_loopback(request.remote_addr)):
            g.actor = identify(plane)
            actor_with(Permission.VIEW)
        return Response(exposition(_families(plane)), content_type=CONTENT_TYPE)

    return blueprint


def _is_loopback(address: str | None) -> bool:
    try:
        return address is not None and ip_address(address).is_loopback
    except ValueError:
        return False


def _families(plane: ControlPlane) -> Iterable[Family]:
    statuses = list(plane.monitor.picture().processes.values())
    yield from _processes(statuses)
    yield from _collectors(statuses)
    yield from _devices(statuses)
    yield from _stores(look_at_storage(plane.console.settings.home))
    yield from _alerts(plane)
    yield from _nodes(plane)
    yield from _ourselves(plane)


def _processes(statuses: Iterable[ProcessStatus]) -> Iterable[Family]:
    up = Family("daq_process_up", "gauge", "Whether the process exists.")
    state = Family("daq_process_state", "gauge", "1 for the present state.")
    wanted = Family("daq_process_wanted", "gauge", "0 if an operator stopped it.")
    health = Family("daq_process_health", "gauge", "1 for the present health status.")
    score = Family("daq_process_health_score", "gauge", "0..100, none if stopped or unknown.")
    check = Family("daq_process_check", "gauge", "0 healthy, 1 warning, 2 unknown, 3 critical.")
    cpu = Family("daq_process_cpu_percent", "gauge", "Per cent of one core over 10 s.")
    memory = Family("daq_process_memory_bytes", "gauge", "Resident memory.")
    uptime = Family("daq_process_uptime_seconds", "gauge", "Since the start of this process.")
    restarts = Family("daq_process_restarts_24h", "gauge", "Unasked restarts in 24 h.")
    errors = Family("daq_process_log_errors_24h", "gauge", "ERROR lines of 24 h.")
    for each in statuses:
        labels = {"process": each.name, "node": each.node}
        up.add(each.pid is not None, type=each.type, **labels)
        state.add(1, state=each.status.value, **labels)
        wanted.add(each.desired is Desired.RUN, **labels)
        health.add(1, status=each.health.status.value, **labels)
        score.add(each.health_score, **labels)
        for result in each.health.checks:
            check.add(result.status.rank, check=result.check_type.value, **labels)
        cpu.add(each.cpu_percent, **labels)
        memory.add(None if each.memory_mb is None else each.memory_mb * _MB, **labels)
        uptime.add(each.uptime_seconds, **labels)
        restarts.add(each.restart_count, **labels)
        errors.add(each.error_count_24h, **labels)
    return up, state, wanted, health, score, check, cpu, memory, uptime, restarts, errors


def _collectors(statuses: Iterable[ProcessStatus]) -> Iterable[Family]:
    rate = Family("daq_collector_samples_per_second", "gauge", "Good samples, over 10 s.")
    expected = Family("daq_collector_expected_samples_per_second", "gauge", "As configured.")
    samples = Family("daq_collector_samples_total", "counter", "Good samples of this process.")
    age = Family("daq_collector_data_age_seconds", "gauge", "Age of the newest good sample.")
    requests = Family("daq_collector_requests_total", "counter", "Requests to devices.")
    failed = Family("daq_collector_request_errors_total", "counter", "Requests that failed.")
    late = Family("daq_collector_late_cycles_total", "counter", "Cycles that began late.")
    skipped = Family("daq_collector_skipped_cycles_total", "counter", "Cycles left out.")
    reconnects = Family("daq_collector_reconnects_total", "counter", "Connects after the first.")
    bad = Family("daq_collector_bad_points", "gauge", "Points without a usable value.")
    for each in statuses:
        labels = {"process": each.name}
        rate.add(each.data_collection_rate, **labels)
        expected.add(each.expected_rate, **labels)
        samples.add(each.samples_total, **labels)
        if each.last_data_time is not None:
            age_s = (each.observed_at - each.last_data_time).total_seconds()
            age.add(max(0.0, age_s), **labels)
        if each.devices:
            requests.add(sum(device.requests for device in each.devices), **labels)
            failed.add(sum(device.request_errors for device in each.devices), **labels)
            late.add(sum(device.late_cycles for device in each.devices), **labels)
            skipped.add(sum(device.skipped_cycles for device in each.devices), **labels)
            reconnects.add(sum(device.reconnects for device in each.devices), **labels)
            bad.add(sum(device.bad_points for device in each.devices), **labels)
    return rate, expected, samples, age, requests, failed, late, skipped, reconnects, bad


def _devices(statuses: Iterable[ProcessStatus]) -> Iterable[Family]:
    connected = Family("daq_device_connected", "gauge", "Whether the link to the device is up.")
    round_trip = Family("daq_device_round_trip_seconds", "gauge", "Median of 100 requests.")
    for each in statuses:
        for device in each.devices:
            labels = {"process": each.name, "device": device.device_id}
            connected.add(device.is_connected, **labels)
            milliseconds = device.round_trip_ms
            round_trip.add(None if milliseconds is None else milliseconds * _MS, **labels)
    return connected, round_trip


def _stores(storage: StorageView | None) -> Iterable[Family]:
    age = Family("daq_historian_age_seconds", "gauge", "Since the historian said how it is.")
    missing = Family("daq_records_missing", "gauge", "Records of which nobody knows.")
    up = Family("daq_store_up", "gauge", "Whether the store takes what it is given.")
    lag = Family("daq_store_lag_seconds", "gauge", "Age of the oldest record not stored.")
    queued = Family("daq_store_queued_bytes", "gauge", "What is still to be stored.")
    records = Family("daq_store_records_total", "counter", "Records by what became of them.")
    samples = Family("daq_store_samples_total", "counter", "Samples by what became of them.")
    if storage is not None:
        age.add(storage.age_s)
        missing.add(storage.records_missing)
        for store in storage.stores:
            total, name = storage.total(store.name), store.name
            up.add(store.error is None, store=name)
            lag.add(total.lag_s, store=name)
            queued.add(total.queued_bytes, store=name)
            records.add(total.records_stored, store=name, outcome="stored")
            records.add(total.records_dropped, store=name, outcome="dropped")
            records.add(total.records_dead, store=name, outcome="dead")
            samples.add(total.samples_stored, store=name, outcome="stored")
            samples.add(total.samples_dropped, store=name, outcome="dropped")
            samples.add(total.samples_dead, store=name, outcome="dead")
    return age, missing, up, lag, queued, records, samples


def _alerts(plane: ControlPlane) -> Iterable[Family]:
    number = Family("daq_alerts", "gauge", "Open alerts by severity and state.")
    each_one = Family("daq_alert", "gauge", "1 for each open alert.")
    pending = Family("daq_alerts_pending", "gauge", "Not yet for as long as their rules ask.")
    queue = Family("daq_notify_queue", "gauge", "Notices that wait to be sent.")
    present = plane.alerts.service.present()
    counts = Counter((alert.severity, alert.state) for alert in present)
    for severity in AlertSeverity:
        for state in _OPEN:
            number.add(counts[severity, state], severity=severity.value, state=state.value)
    for alert in present:
        each_one.add(
            1,
            rule=alert.rule,
            subject=alert.subject.name,
            severity=alert.severity.value,
            state=alert.state.value,
        )
    pending.add(len(plane.alerts.service.pending()))
    queue.add(plane.alerts.notifier.queued_count())
    return number, each_one, pending, queue


def _nodes(plane: ControlPlane) -> Iterable[Family]:
    up = Family("daq_node_up", "gauge", "Whether the supervisord of the machine answers.")
    lag = Family("daq_node_answer_seconds", "gauge", "How long it took to answer.")
    for node in plane.monitor.picture().nodes:
        up.add(node.reachable, node=node.name)
        lag.add(None if node.lag_ms is None else node.lag_ms * _MS, node=node.name)
    return up, lag


def _ourselves(plane: ControlPlane) -> Iterable[Family]:
    def gauge(name: str, text: str, value: float, **labels: str) -> Family:
        return Family(name, "gauge", text, [(labels, float(value))])

    monitor, hub, console = plane.monitor, plane.hub, plane.console
    uptime_s = (console.clock.now() - plane.started_at).total_seconds()
    cut_off = Family("daq_live_cut_off_total", "counter", "Panels too slow to keep up.")
    cut_off.add(hub.cut_off)
    bans = Family("daq_live_bans_total", "counter", "Clients kept out because they misbehaved.")
    bans.add(hub.bans)
    cpu = Family("daq_control_plane_cpu_seconds_total", "counter", "CPU time of the process.")
    cpu.add(time.process_time())
    disk_free_bytes = shutil.disk_usage(console.settings.home).free
    return (
        gauge("daq_build_info", "Version of this control plane.", 1, version=VERSION),
        gauge("daq_look_seconds", "How long the newest look took.", monitor.look_ms * _MS),
        gauge("daq_look_age_seconds", "Since the newest look.", monitor.picture_age_s()),
        gauge("daq_live_clients", "Panels connected.", hub.client_count),
        cut_off,
        bans,
        gauge("daq_control_plane_uptime_seconds", "Since its start.", uptime_s),
        gauge("daq_control_plane_threads", "Threads of the process.", threading.active_count()),
        cpu,
        gauge("daq_disk_free_bytes", "Free on the disk of DAQ_HOME.", disk_free_bytes),
    )
