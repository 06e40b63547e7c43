"""The one table."""

import uuid
from datetime import datetime

from sqlalchemy import DateTime, Index, String, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.dialects.postgresql import JSONB


class Base(DeclarativeBase):
    pass


class Deployment(Base):
    __tablename__ = "deployments"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    idempotency_key: Mapped[str] = mapped_column(String(255), unique=True)
    project: Mapped[str]
    stack: Mapped[str]
    environment: Mapped[str]
    state: Mapped[str]
    variables: Mapped[dict] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now()
    )
    # Seconds since 1970 by the clock of this machine, for the benchmark's pickup latency.
    committed_at: Mapped[float | None]
    started_at: Mapped[float | None]
    running_at: Mapped[float | None]
    ended_at: Mapped[float | None]

    __table_args__ = (Index("deployments_by_state", "state"),)
