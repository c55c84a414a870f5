"""A sign-in service as proxies see it: a key set that changes, at an address that is not always well."""

import asyncio
import base64
import json
import random
import time

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

NAME = "https://issuer.example"
# Seconds.
ROTATION, LIFETIME = 180, 100
STALL = 7


class Key:
    def __init__(self, number):
        self.name, self.private, self.born = f"key-{number}", Ed25519PrivateKey.generate(), time.monotonic()
        raw = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        encoded = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
        self.public = {"kty": "OKP", "crv": "Ed25519", "kid": self.name, "x": encoded}


class Issuer:
    """Signs with the newest key; publishes it and the one before."""

    def __init__(self):
        self.keys = [Key(0)]
        self.stranger = Key(0)
        self.fetches = {"good": 0, "500": 0, "stalled": 0}

    async def rotate(self):
        while True:
            await asyncio.sleep(ROTATION)
            self.keys = [Key(int(self.keys[0].name[4:]) + 1), self.keys[0]]

    def age(self):
        """Seconds for which the newest key has been published."""
        return time.monotonic() - self.keys[0].born

    def token(self, user, key=None, lifetime=LIFETIME, name=None):
        key, now = key or self.keys[0], int(time.time())
        claims = {"sub": user, "iss": NAME, "aud": NAME, "iat": now, "exp": now + lifetime, "jti": str(random.random())}
        return jwt.encode(claims, key.private, "EdDSA", {"kid": name or key.name})

    def forged(self, user):
        """A token of the right form, under the right key's name, that somebody else has signed."""
        return self.token(user, self.stranger, name=self.keys[0].name)

    async def serve(self, reader, writer):
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await self.answer(writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def answer(self, writer):
        body = json.dumps({"keys": [key.public for key in self.keys]}).encode()
        status, mood = b"200 OK", random.random()
        if mood < 0.15 and self.fetches["good"]:
            self.fetches["500"] += 1
            status, body = b"500 Internal Server Error", b"{}"
        elif mood < 0.25 and self.fetches["good"]:
            self.fetches["stalled"] += 1
            await asyncio.sleep(STALL)
        else:
            self.fetches["good"] += 1
        writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))
        await writer.drain()
