"""Lets hvac, the Python client of HashiCorp Vault, tell a story to the stand-in of a Vault, and read what keywheel's sink wrote there.

Standard input holds one JSON object: {"url", "namespace", "mount", "path", "token", "secret_id", "expected"}. Exit status 0 says that all went as it does with
a real Vault.
"""

import json
import sys

import hvac
from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest

told = json.load(sys.stdin)
mount, path = told["mount"], told["path"]


def client(token):
    return hvac.Client(url=told["url"], token=token, namespace=told["namespace"])


def refused(error, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except error as said:
        return str(said)
    raise AssertionError(f"{call.__name__} was to be refused with {error.__name__}")


root = client(told["token"])
assert root.is_authenticated()
assert not client("nobody").is_authenticated()
kv = root.secrets.kv.v2


def read(**more):
    return kv.read_secret_version(path=path, mount_point=mount, raise_on_deleted_version=True, **more)["data"]


# What the sink wrote.
for version, expected in enumerate(told["expected"], 1):
    held = read(version=version)
    assert held["data"] == expected, (held, expected)
    assert held["metadata"]["version"] == version
notes = {"managed-by": "keywheel", "target": "orders-cache", "generation": str(expected["generation"]), "rotation": "adopted"}
about = kv.read_secret_metadata(path=path, mount_point=mount)["data"]
assert about["custom_metadata"] == notes and about["current_version"] == version, about

# Check-and-set.
assert "did not match" in refused(
    InvalidRequest, kv.create_or_update_secret, path=path, mount_point=mount, secret={"a": "b"}, cas=version - 1
)
refused(InvalidRequest, kv.create_or_update_secret, path=path, mount_point=mount, secret={"a": "b"}, cas=0)
written = kv.create_or_update_secret(path=path, mount_point=mount, secret={"a": "b"}, cas=version)
assert written["data"]["version"] == version + 1
assert read()["data"] == {"a": "b"}
created = kv.create_or_update_secret(path="another", mount_point=mount, secret={"c": "d"}, cas=0)
assert created["data"]["version"] == 1

# Deleted, brought back, destroyed, and all of it removed.
kv.delete_latest_version_of_secret(path=path, mount_point=mount)
refused(InvalidPath, read)
deleted = kv.read_secret_version(path=path, mount_point=mount, raise_on_deleted_version=False)["data"]
assert deleted["data"] is None and deleted["metadata"]["version"] == version + 1 and deleted["metadata"]["deletion_time"]
kv.undelete_secret_versions(path=path, mount_point=mount, versions=[version + 1])
assert read()["data"] == {"a": "b"}
kv.destroy_secret_versions(path=path, mount_point=mount, versions=[version + 1])
refused(InvalidPath, read)
kv.update_metadata(path="another", mount_point=mount, custom_metadata={"owner": "shop"})
assert kv.read_secret_metadata(path="another", mount_point=mount)["data"]["custom_metadata"] == {"owner": "shop"}
kv.delete_metadata_and_all_versions(path="another", mount_point=mount)
refused(InvalidPath, kv.read_secret_metadata, path="another", mount_point=mount)
refused(InvalidPath, kv.read_secret_version, path="never", mount_point=mount, raise_on_deleted_version=True)

# Logins, and what a token may do.
assert "secret ID" in refused(InvalidRequest, client(None).auth.approle.login, role_id="keywheel-role", secret_id="wrong")
given = client(None).auth.approle.login(role_id="keywheel-role", secret_id=told["secret_id"])["auth"]
pod = client(None).auth.kubernetes.login(role="keywheel", jwt="pod-identity-token", mount_point="clusters/eu")["auth"]
for login in (given, pod):
    own = client(login["client_token"])
    about = own.auth.token.lookup_self()["data"]
    assert about["renewable"] and 0 < about["ttl"] <= login["lease_duration"]
    assert own.auth.token.renew_self()["auth"]["lease_duration"] == login["lease_duration"]
    paths = [f"{mount}/data/{path}", f"{mount}/metadata/{path}", "elsewhere/data/x"]
    rights = own.sys.get_capabilities(paths=paths)["data"]
    assert "update" in rights[paths[0]] and "update" in rights[paths[1]] and rights[paths[2]] == ["deny"], rights
refused(Forbidden, client("nobody").secrets.kv.v2.read_secret_version, path=path, mount_point=mount, raise_on_deleted_version=True)
