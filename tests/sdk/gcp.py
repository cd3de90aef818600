"""Lets Google's Python client of Secret Manager tell a story to the stand-in, and read what keywheel's sink wrote there.

Standard input holds one JSON object: {"address", "project", "secret", "expected", "key", "external"}. Exit status 0 says that all went as it does with the real
service. The last thing it does is to disable the newest version.
"""

import json
import os
import sys

import google_crc32c
import google.oauth2.credentials
from google.api_core import exceptions
from google.auth import identity_pool
from google.auth.transport.requests import Request
from google.cloud import secretmanager
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceRestTransport
from google.oauth2 import service_account
from google.protobuf import field_mask_pb2

told = json.load(sys.stdin)
parent = f"projects/{told['project']}"
name = f"{parent}/secrets/{told['secret']}"


def client(credentials):
    transport = SecretManagerServiceRestTransport(host=told["address"], credentials=credentials, url_scheme="http")
    return secretmanager.SecretManagerServiceClient(transport=transport)


def refused(error, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except error as said:
        return str(said)
    raise AssertionError(f"{call.__name__} was to be refused with {error.__name__}")


# A key that signs its own tokens.
key = service_account.Credentials.from_service_account_info(told["key"], scopes=["https://www.googleapis.com/auth/cloud-platform"])
manager = client(key.with_always_use_jwt_access(True))
another = dict(told["key"], private_key_id="another")
stranger = service_account.Credentials.from_service_account_info(another, scopes=["https://www.googleapis.com/auth/cloud-platform"])
refused(exceptions.Unauthorized, client(stranger.with_always_use_jwt_access(True)).get_secret, name=name)

# What the sink wrote.
for version, expected in enumerate(told["expected"], 1):
    held = manager.access_secret_version(name=f"{name}/versions/{version}")
    assert json.loads(held.payload.data) == expected, held
    assert held.payload.data_crc32c == google_crc32c.value(held.payload.data)
    assert manager.get_secret_version(name=f"{name}/versions/{version}").client_specified_payload_checksum
latest = manager.access_secret_version(name=f"{name}/versions/latest")
assert json.loads(latest.payload.data) == expected and latest.name.endswith(f"/versions/{version}")
about = manager.get_secret(name=name)
noted = {"keywheel-target": "orders-cache", "keywheel-generation": str(expected["generation"]), "keywheel-after": str(version - 1)}
assert dict(about.annotations) == noted
listed = list(manager.list_secret_versions(request={"parent": name, "filter": "state:ENABLED"}))
assert [one.name.rsplit("/")[-1] for one in listed] == [str(number) for number in range(version, 0, -1)]

# Etags.
mask = field_mask_pb2.FieldMask(paths=["annotations"])
stale = about.etag
about.annotations["owner"] = "the shop"
changed = manager.update_secret(secret=about, update_mask=mask)
assert changed.annotations["owner"] == "the shop" and changed.etag != stale
about.etag = stale
refused(exceptions.BadRequest, manager.update_secret, secret=about, update_mask=mask)
about.annotations["no/key"] = "x"
about.etag = changed.etag
refused(exceptions.BadRequest, manager.update_secret, secret=about, update_mask=mask)

# A secret from its making to its end.
other = f"{parent}/secrets/another"
refused(exceptions.NotFound, manager.get_secret, name=other)
made = manager.create_secret(parent=parent, secret_id="another", secret={"replication": {"automatic": {}}, "annotations": {"a": "b"}})
assert dict(made.annotations) == {"a": "b"}
refused(exceptions.Conflict, manager.create_secret, parent=parent, secret_id="another", secret={"replication": {"automatic": {}}})
refused(exceptions.NotFound, manager.access_secret_version, name=f"{other}/versions/latest")
good = {"data": b"x", "data_crc32c": google_crc32c.value(b"x")}
refused(exceptions.BadRequest, manager.add_secret_version, parent=other, payload={"data": b"x", "data_crc32c": 1})
added = manager.add_secret_version(parent=other, payload=good)
assert added.name.endswith("/secrets/another/versions/1") and added.state.name == "ENABLED"
refused(exceptions.BadRequest, manager.disable_secret_version, request={"name": added.name, "etag": '"0"'})
disabled = manager.disable_secret_version(request={"name": f"{other}/versions/1", "etag": added.etag})
assert disabled.state.name == "DISABLED"
refused(exceptions.BadRequest, manager.access_secret_version, name=f"{other}/versions/latest")
assert manager.enable_secret_version(name=f"{other}/versions/1").state.name == "ENABLED"
assert manager.destroy_secret_version(name=f"{other}/versions/1").state.name == "DESTROYED"
refused(exceptions.BadRequest, manager.access_secret_version, name=f"{other}/versions/1")
refused(exceptions.BadRequest, manager.enable_secret_version, name=f"{other}/versions/1")
asked = ["secretmanager.versions.add", "secretmanager.versions.access"]
assert list(manager.test_iam_permissions(request={"resource": name, "permissions": asked}).permissions) == asked
manager.delete_secret(name=other)
refused(exceptions.NotFound, manager.get_secret, name=other)

# Every other way to a token.
for path in told["external"]:
    credentials = identity_pool.Credentials.from_file(path, scopes=["https://www.googleapis.com/auth/cloud-platform"])
    assert client(credentials).get_secret(name=name).name.endswith(told["secret"])
os.environ["GCE_METADATA_HOST"] = told["address"]
from google.auth.compute_engine import _metadata

token, life = _metadata.get_service_account_token(Request(), service_account="default")
bearer = google.oauth2.credentials.Credentials(token)
assert life and client(bearer).get_secret(name=name).name.endswith(told["secret"])

manager.disable_secret_version(name=f"{name}/versions/latest")
