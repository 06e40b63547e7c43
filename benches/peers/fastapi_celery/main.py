"""The API: accepts deployments and shows them.

    uvicorn main:app --loop uvloop --http httptools --no-access-log
"""

import time
import uuid
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

import settings
from tables import Base, Deployment
from tasks import deploy

engine = create_async_engine(
    make_url(settings.DATABASE_URL).set(drivername="postgresql+asyncpg"),
    pool_size=20,
    max_overflow=0,
)
session_of = async_sessionmaker(engine, expire_on_commit=False)


async def session():
    async with session_of() as session:
        yield session


Session = Annotated[AsyncSession, Depends(session)]


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
        await connection.run_sync(Base.metadata.create_all)
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
    session: Session,
) -> ShownDeployment:
    made = insert(Deployment).values(
        id=uuid.uuid4(), idempotency_key=idempotency_key, state="queued", **new.model_dump()
    )
    made = made.on_conflict_do_nothing(index_elements=["idempotency_key"]).returning(Deployment)
    deployment = (await session.scalars(made)).one_or_none()
    if deployment is None:
        # Sent before: the same answer, and no second task.
        stored = select(Deployment).where(Deployment.idempotency_key == idempotency_key)
        deployment = (await session.scalars(stored)).one()
    else:
        await session.commit()
        hold_s = 600.0 if new.stack.startswith("hold") else 0.0
        deploy.delay(str(deployment.id), time.time(), hold_s)
    response.headers["location"] = f"/deployments/{deployment.id}"
    return ShownDeployment.model_validate(deployment)


@app.get("/deployments/{deployment_id}")
async def show(deployment_id: uuid.UUID, session: Session) -> ShownDeployment:
    deployment = await session.get(Deployment, deployment_id)
    if deployment is None:
        raise HTTPException(404, "there is no such deployment")
    return ShownDeployment.model_validate(deployment)
