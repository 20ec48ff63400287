"""floe's client of a control plane."""

from floe_client.artifacts import Pulled, pull, rollback
from floe_client.client import ControlPlaneClient

__all__ = ["ControlPlaneClient", "Pulled", "pull", "rollback"]
