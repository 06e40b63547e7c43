"""The worker: a task that does nothing but move its row to running and then to succeeded.

    celery -A tasks worker --concurrency 4
"""

import time

import psycopg
from celery import Celery
from celery.signals import worker_process_init

import settings

app = Celery("deployments", broker=settings.REDIS_URL)
app.conf.update(
    # A task whose worker dies is run again by another one.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    # One task at a time is taken by each process, and none is held behind a long one.
    worker_prefetch_multiplier=1,
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "visibility_timeout": settings.VISIBILITY_TIMEOUT_S,
        "unacked_restore_interval": settings.RESTORE_INTERVAL_S,
        # Look every time, not every tenth time.
        "unacked_restore_throttle": 1,
    },
)

connection: psycopg.Connection | None = None


@worker_process_init.connect
def connect(**_):
    """One connection a process, kept; each statement is a transaction of its own."""
    global connection
    connection = psycopg.connect(settings.DATABASE_URL, autocommit=True, prepare_threshold=1)


@app.task(name="deploy")
def deploy(deployment_id: str, committed_at: float, hold_s: float) -> None:
    started_at = time.time()
    connection.execute(
        "update deployments set state = 'running', committed_at = %s, started_at = %s"
        " where id = %s",
        (committed_at, started_at, deployment_id),
    )
    running_at = time.time()
    if hold_s:
        time.sleep(hold_s)
    connection.execute(
        "update deployments set state = 'succeeded', running_at = %s, ended_at = %s where id = %s",
        (running_at, time.time(), deployment_id),
    )
