"""The one table."""

from sqlalchemy import Column, DateTime, Double, Index, MetaData, String, Table, Uuid, func
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()

deployments = Table(
    "deployments",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("idempotency_key", String(255), nullable=False, unique=True),
    Column("project", String, nullable=False),
    Column("stack", String, nullable=False),
    Column("environment", String, nullable=False),
    Column("state", String, nullable=False),
    Column("variables", JSONB, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    # Seconds since 1970 by the clock of this machine, for the benchmark.
    Column("committed_at", Double),
    Column("started_at", Double),
    Column("running_at", Double),
    Column("ended_at", Double),
    Index("deployments_by_state", "state"),
)
