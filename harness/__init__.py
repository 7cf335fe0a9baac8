"""Acts: owns every effect and asks `orchestrator` what to do."""

__version__ = "0.1.0"
