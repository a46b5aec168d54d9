"""CPUs of this process: what a container was given, not what the machine has."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")


def count_cpus(cgroup_root: Path = CGROUP_ROOT) -> int:
    """Return whole CPUs within both the cgroup's quota and the affinity mask; at least 1.

    A quota of 1.5 counts as 1: two busy workers would be throttled in every period, and what
    they gain in throughput they lose in tail latency.
    """
    allowed = len(os.sched_getaffinity(0))
    quota = read_quota(cgroup_root)
    return max(1, min(allowed, int(quota)) if quota else allowed)


def read_quota(cgroup_root: Path = CGROUP_ROOT) -> float | None:
    """Return the quota in CPUs, or None where there is none.

    Source: https://docs.kernel.org/admin-guide/cgroup-v2.html (``cpu.max``) and
    https://docs.kernel.org/scheduler/sched-bwc.html (``cpu.cfs_quota_us``).
    """
    try:
        quota, period = (cgroup_root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroup_root / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (cgroup_root / "cpu" / "cpu.cfs_period_us").read_text()
        except OSError:
            return None
    try:
        cpus = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):  # "max"
        return None
    return cpus if cpus > 0 else None
