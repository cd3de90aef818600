"""A mail server for the tests of alerts: aiosmtpd, with a login and TLS as it is told. What it takes it prints, a JSON object a line; first its port."""

import asyncio
import json
import logging
import ssl
import sys
import warnings

from aiosmtpd.smtp import SMTP, AuthResult

# What it says of clients that go wrong on purpose.
logging.disable()
warnings.simplefilter("ignore")

certificate, key, way, user, password = sys.argv[1:6]


class Keeper:
    async def handle_DATA(self, server, session, envelope):
        print(json.dumps({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "mail": envelope.content.decode("utf-8"),
            "tls": server.transport.get_extra_info("sslcontext") is not None,
            "login": bool(session.authenticated),
        }), flush=True)
        return "250 taken"


def let_in(server, session, envelope, mechanism, data):
    login = [part.decode() for part in (data.login, data.password)]
    if login == [user, password]:
        return AuthResult(success=True)
    # A server that repeats what it was sent.
    return AuthResult(success=False, handled=False, message=f"535 5.7.8 no such login: {login[1]}")


context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(certificate, key)


settings = {"authenticator": let_in, "auth_required": way != "none"}
if way == "starttls":
    settings.update(tls_context=context, require_starttls=True)
elif way == "implicit":
    # The whole connection is private already, which the server's code does not see.
    settings.update(auth_require_tls=False)


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(Keeper(), hostname="localhost", loop=loop, **settings),
        "127.0.0.1",
        0,
        ssl=context if way == "implicit" else None,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
