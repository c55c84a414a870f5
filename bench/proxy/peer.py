"""What one writes instead of a proxy: a FastAPI application that checks each request's token with PyJWT by itself."""

import os
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, Header, HTTPException

SECRET = os.environ["PEER_SECRET"]
ORIGIN = "http://localhost:3000"
TASK = {
    "id": 7,
    "title": "Buy milk",
    "description": None,
    "completed": False,
    "created_at": "2026-11-23T06:40:07Z",
    "updated_at": "2026-11-23T06:40:07Z",
}
app = FastAPI()


async def caller(user_id: str, authorization: Annotated[str, Header()]) -> str:
    try:
        token = authorization.removeprefix("Bearer ")
        subject = jwt.decode(token, SECRET, algorithms=["HS256"], audience=ORIGIN, issuer=ORIGIN)["sub"]
    except jwt.PyJWTError as error:
        raise HTTPException(401) from error
    if subject != user_id:
        raise HTTPException(403)
    return subject


@app.get("/api/{user_id}/tasks/{task_id}")
async def read(task_id: int, _: Annotated[str, Depends(caller)]):
    return TASK
