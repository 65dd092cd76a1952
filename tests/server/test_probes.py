"""The probes that the documents name for Kubernetes are answered, with the settings that stand beside them."""

from pathlib import Path
from typing import Any

import yaml

from llava.inference.session import Session
from llava.serve.options import build_parser
from llava.serve.serve import config_of
from tests.documents_helpers import ROOT, read_blocks
from tests.server_helpers import serving

KEY = "a-key-of-sixteen-or-more"


def deployment() -> Any:
    """What docs/serving.md prints."""
    blocks = {block.file: block for block in read_blocks(ROOT / "docs" / "serving.md")}
    return yaml.safe_load(blocks["deployment.yaml"].source)["spec"]["template"]["spec"]


def test_the_probes_are_answered_without_a_key_under_any_name(session: Session) -> None:
    (container,) = deployment()["containers"]
    with serving(session, api_keys=(KEY,)) as served:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = container[probe]["httpGet"]
            assert asked["port"] == container["ports"][0]["name"]
            assert served.send("GET", asked["path"], headers={"Host": "10.1.2.3:8000"})[0] == 200
        assert served.send("GET", "/v1/models", headers={"Host": "10.1.2.3:8000"})[0] == 401


def test_a_pod_that_shuts_down_is_not_ready_and_lives(session: Session) -> None:
    (container,) = deployment()["containers"]
    with serving(session) as served:
        # What it does first of all when it is told to end.
        served.engine._closing = True
        ready, lives = (container[name]["httpGet"]["path"] for name in ("readinessProbe", "livenessProbe"))
        assert served.send("GET", ready)[0] == 503
        assert served.send("GET", lives)[0] == 200


def test_the_settings_are_taken_and_end_in_time(tmp_path: Path) -> None:
    spec = deployment()
    keys = tmp_path / "keys.txt"
    keys.write_text(KEY)
    words = [str(keys) if word == "/keys/keys.txt" else word for word in spec["containers"][0]["args"]]
    config = config_of(build_parser().parse_args(["serve", *words]))
    assert config.api_keys == (KEY,)
    assert config.port == spec["containers"][0]["ports"][0]["containerPort"]
    assert spec["terminationGracePeriodSeconds"] > config.shutdown_seconds
