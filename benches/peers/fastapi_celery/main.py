"""The API: accepts deployments and shows them.

    uvicorn main:app --loop uvloop --http httptools --no-access-log

Written for speed where that costs no clarity: statements of SQLAlchemy Core, built once; each
request is one statement that is its own transaction, so no BEGIN and COMMIT are sent; answers are
serialised by Pydantic as FastAPI advises.
"""

import time
import uuid
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated

from fastapi import FastAPI, Header, HTTPException, Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy import bindparam, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

import settings
from tables import deployments, metadata
from tasks import deploy

engine = create_async_engine(
    make_url(settings.DATABASE_URL).set(drivername="postgresql+asyncpg"),
    isolation_level="AUTOCOMMIT",
    pool_size=20,
    max_overflow=0,
)

SHOWN = [deployments.c[name] for name in (
    "id", "project", "stack", "environment", "state", "variables", "created_at",
)]
# Nothing comes back when the key was used before.
MAKE = (
    insert(deployments)
    .on_conflict_do_nothing(index_elements=["idempotency_key"])
    .returning(*SHOWN)
)
OF_KEY = select(*SHOWN).where(deployments.c.idempotency_key == bindparam("key"))
OF_ID = select(*SHOWN).where(deployments.c.id == bindparam("id"))


class NewDeployment(BaseModel):
    project: str
    stack: str
    environment: str
    variables: dict[str, str] = {}


class ShownDeployment(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    project: str
    stack: str
    environment: str
    state: str
    variables: dict[str, str]
    created_at: datetime


@asynccontextmanager
async def lifespan(_: FastAPI):
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/readyz")
async def ready() -> dict[str, bool]:
    return {"ready": True}


@app.post("/deployments", status_code=202)
async def submit(
    new: NewDeployment,
    idempotency_key: Annotated[str, Header(max_length=255)],
    response: Response,
) -> ShownDeployment:
    row = new.model_dump()
    row.update(id=uuid.uuid4(), idempotency_key=idempotency_key, state="queued")
    async with engine.connect() as connection:
        made = (await connection.execute(MAKE, row)).one_or_none()
        # Sent before: the same answer, and no second task.
        shown = made or (await connection.execute(OF_KEY, {"key": idempotency_key})).one()
    if made:
        hold_s = 600.0 if new.stack.startswith("hold") else 0.0
        deploy.delay(str(made.id), time.time(), hold_s)
    response.headers["location"] = f"/deployments/{shown.id}"
    return ShownDeployment.model_validate(shown)


@app.get("/deployments/{deployment_id}")
async def show(deployment_id: uuid.UUID) -> ShownDeployment:
    async with engine.connect() as connection:
        shown = (await connection.execute(OF_ID, {"id": deployment_id})).one_or_none()
    if shown is None:
        raise HTTPException(404, "there is no such deployment")
    return ShownDeployment.model_validate(shown)
