"""The usual Python stack for the same API: FastAPI, SQLModel and PyJWT on SQLite, with the same durability setting."""

import os
from datetime import datetime, timezone
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, Header, HTTPException
from sqlalchemy import event
from sqlmodel import Field, Session, SQLModel, create_engine, select

SECRET = os.environ["PEER_SECRET"]
engine = create_engine(f"sqlite:///{os.environ['PEER_DATABASE']}", connect_args={"timeout": 30}, pool_size=40)


@event.listens_for(engine, "connect")
def configure(connection, _):
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


class TaskIn(SQLModel):
    title: str = Field(min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=2000)


class Task(TaskIn, table=True):
    id: int | None = Field(default=None, primary_key=True)
    owner: str = Field(index=True)
    completed: bool = False
    created_at: datetime
    updated_at: datetime


class TaskOut(TaskIn):
    id: int
    completed: bool
    created_at: datetime
    updated_at: datetime


SQLModel.metadata.create_all(engine)
app = FastAPI()


def caller(user_id: str, authorization: Annotated[str, Header()]) -> str:
    try:
        subject = jwt.decode(authorization.removeprefix("Bearer "), SECRET, algorithms=["HS256"])["sub"]
    except jwt.PyJWTError as error:
        raise HTTPException(401) from error
    if subject != user_id:
        raise HTTPException(403)
    return subject


def session():
    with Session(engine) as opened:
        yield opened


@app.post("/api/{user_id}/tasks", status_code=201, response_model=TaskOut)
def create(body: TaskIn, owner: Annotated[str, Depends(caller)], db: Annotated[Session, Depends(session)]):
    now = datetime.now(timezone.utc)
    task = Task(**body.model_dump(), owner=owner, created_at=now, updated_at=now)
    db.add(task)
    db.commit()
    db.refresh(task)
    return task


@app.get("/api/{user_id}/tasks", response_model=list[TaskOut])
def read(owner: Annotated[str, Depends(caller)], db: Annotated[Session, Depends(session)]):
    return db.exec(select(Task).where(Task.owner == owner).order_by(Task.id).limit(100)).all()
