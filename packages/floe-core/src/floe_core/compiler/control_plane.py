"""The control plane that the files name."""

from __future__ import annotations

from floe_core.compiler.governance import SpecFile
from floe_core.compiler.load import Loaded, load
from floe_core.compiler.request import CompileRequest
from floe_core.diagnostics import Report, display_path
from floe_core.errors import CompileError, ControlPlaneError
from floe_core.schemas.artifacts import CompiledControlPlane
from floe_core.schemas.floe import FloeSpec
from floe_core.schemas.platform import PlatformSpec

_NO_PLATFORM_FILE = "FLOE-F006"


def control_plane(
    platform: PlatformSpec | None, product: FloeSpec | None
) -> CompiledControlPlane | None:
    """The platform's control plane; the product's own where the platform names none."""
    named = {"platform": platform, "floe": product}[control_plane_file(platform, product)]
    if named is None or named.control_plane is None:
        return None
    return CompiledControlPlane(**named.control_plane.model_dump())


def control_plane_file(platform: PlatformSpec | None, product: FloeSpec | None) -> SpecFile:
    """The file whose control plane counts."""
    is_of_platform = platform is not None and platform.control_plane is not None
    is_of_product = product is not None and product.control_plane is not None
    return "floe" if is_of_product and not is_of_platform else "platform"


def find_control_plane(request: CompileRequest) -> CompiledControlPlane:
    """Read both files, as a compile does, for the control plane that they name.

    Raises:
        CompileError: if the files are wrong.
        ControlPlaneError: if they name no control plane.
    """
    report = Report()
    loaded = load(request, report)
    # A product may name its control plane itself; there is then nothing to look up in a platform.
    findings = [found for found in report.sorted() if found.code != _NO_PLATFORM_FILE]
    if any(found.is_error for found in findings):
        raise CompileError(findings)
    found = control_plane(loaded.platform, loaded.floe)
    if found is None:
        raise ControlPlaneError(
            f"no control plane is named in {_places(loaded)}",
            help="Write `control_plane: {api_url: https://floe.example.com, "
            "api_key_env: FLOE_API_KEY}` in platform.yaml, with your address.",
        )
    return found


def _places(loaded: Loaded) -> str:
    product = display_path(loaded.request.floe_file)
    if loaded.platform_source is None:
        return f"{product}, and there is no platform.yaml"
    return f"{display_path(loaded.platform_source.path)} or {product}"
