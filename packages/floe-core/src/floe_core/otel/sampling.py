"""Which traces are exported."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from opentelemetry.sdk.environment_variables import OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
)

from floe_core.schemas.observability import Sampling

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, SpanKind, TraceState
    from opentelemetry.util.types import Attributes

_logger = logging.getLogger(__name__)
_RANDOM_BITS = 56
_PARENT_BASED = "parentbased_"


class Ratio(Sampler):
    """Samples a part of the traces by the 56 random bits of their ids.

    A run's trace id is a UUID, whose 64 lower bits begin with two that never change. The SDK's own
    `TraceIdRatioBased` judges by all 64: of runs it would sample none below 0.5, and all from 0.75.
    W3C Trace Context level 2 promises that the lowest 56 are random.
    """

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio
        self._threshold = round((1 - ratio) * 2**_RANDOM_BITS)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Sample traces above the threshold: the same ones in every process."""
        if trace_id % 2**_RANDOM_BITS >= self._threshold:
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, trace_state)
        return SamplingResult(Decision.DROP, None, trace_state)

    def get_description(self) -> str:
        """What it is, for people."""
        return f"Ratio{{{self._ratio}}}"


def sampler_of(sampling: Sampling | None) -> Sampler:
    """The sampler that platform.yaml names, else `OTEL_TRACES_SAMPLER`, else all traces.

    A span with a parent follows the parent; of the variable's samplers, only those that begin with
    `parentbased_` do.
    """
    if sampling is None:
        return _named(os.environ.get(OTEL_TRACES_SAMPLER, "").strip().lower())
    if sampling.sampler == "ratio":
        return ParentBased(Ratio(sampling.ratio if sampling.ratio is not None else 1.0))
    return ParentBased(ALWAYS_ON if sampling.sampler == "always" else ALWAYS_OFF)


def _named(name: str) -> Sampler:
    kind = name.removeprefix(_PARENT_BASED)
    if kind not in {"always_on", "always_off", "traceidratio"}:
        if name:
            _logger.warning("%s names no sampler, all traces are exported", OTEL_TRACES_SAMPLER)
        return ParentBased(ALWAYS_ON)
    sampler: Sampler = ALWAYS_ON if kind == "always_on" else ALWAYS_OFF
    if kind == "traceidratio":
        sampler = _ratio()
    return ParentBased(sampler) if name.startswith(_PARENT_BASED) else sampler


def _ratio() -> Sampler:
    try:
        return Ratio(min(1.0, max(0.0, float(os.environ.get(OTEL_TRACES_SAMPLER_ARG, "1")))))
    except ValueError:
        _logger.warning("%s is no number, all traces are exported", OTEL_TRACES_SAMPLER_ARG)
        return ALWAYS_ON
