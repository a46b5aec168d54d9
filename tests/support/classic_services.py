"""Classic services (v1) as hypothesis draws them: ``config[0]`` of a service, probes of a model."""

from __future__ import annotations

from hypothesis import strategies as st

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,40}", fullmatch=True)
SHARES = st.one_of(st.none(), st.integers(0, 8), st.just("25%"), st.just(0.5))
VOLUMES = st.lists(
    st.sampled_from(["/data", "/opt/weights/"]).map(
        lambda path: {"mount_path": path, "source_address": "obs://bucket/data/"}
    ),
    max_size=2,
    unique_by=lambda volume: volume["mount_path"],
)
PARTS = st.fixed_dictionaries(
    {
        "model_id": st.just("m-1"),
        "weight": st.just(100),
        "instance_count": st.integers(1, 128),
        "pool_name": NAMES,
        "specification": st.sampled_from(["modelarts.vm.cpu.2u", "modelarts.vm.gpu.p4"]),
    },
    optional={
        "envs": st.dictionaries(
            st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
            st.from_regex(r"[A-Za-z0-9 /:=._-]{0,20}", fullmatch=True),
            max_size=4,
        ),
        "deploy_timeout_in_seconds": st.integers(180, 7200),
        "custom_spec": st.just({"cpu": 2, "memory": 4096}),
        "additional_properties": st.fixed_dictionaries(
            {},
            optional={
                "max_surge": SHARES,
                "max_unavailable": SHARES,
                "persistent_volumes": VOLUMES,
                "termination_grace_period_seconds": st.integers(90, 300),
            },
        ),
    },
)
PROBES = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {
            "check_method": st.just("HTTP"),
            "url": st.sampled_from(["/health", "/a/b"]),
            "initial_delay_seconds": st.integers(0, 300).map(str),
            "period_seconds": st.integers(1, 60).map(str),
            "failure_threshold": st.integers(1, 60).map(str),
        }
    ),
)
