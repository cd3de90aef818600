"""Lets Azure's Python clients tell a story to the stand-in of a Key Vault and of Entra, and read what keywheel's sink wrote there.

Standard input holds one JSON object: {"url", "authority", "secret", "expected", "ca", "tenant", "client", "client_secret", "pod_token"}. Exit status 0 says that
all went as it does with the real services. The last thing it does is to disable the newest version.
"""

# This folder comes first in the search for modules, and this file has a vendor's name.
import sys

sys.path.pop(0)

import json
import os
import tempfile

from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.identity import ClientSecretCredential, WorkloadIdentityCredential
from azure.keyvault.secrets import SecretClient

told = json.load(sys.stdin)
name = told["secret"]
common = {"connection_verify": told["ca"], "retry_total": 0}
# MSAL asks for its own metadata by requests.
os.environ["REQUESTS_CA_BUNDLE"] = told["ca"]


def client(credential):
    return SecretClient(vault_url=told["url"], credential=credential, verify_challenge_resource=False, **common)


def application(secret):
    return ClientSecretCredential(
        told["tenant"], told["client"], secret, authority=told["authority"], disable_instance_discovery=True, **common
    )


def refused(error, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except error as said:
        return said
    raise AssertionError(f"{call} was to be refused with {error.__name__}")


# What the sink wrote.
vault = client(application(told["client_secret"]))
held = vault.get_secret(name)
expected = told["expected"]
assert json.loads(held.value) == expected[-1], held.value
tags = {"keywheel-target": "orders-cache", "keywheel-generation": str(expected[-1]["generation"])}
assert held.properties.tags == tags and held.properties.content_type == "application/json"
assert held.properties.enabled and held.properties.expires_on is None and held.properties.not_before is None
versions = list(vault.list_properties_of_secret_versions(name))
assert len(versions) == len(expected)
for version in versions:
    wanted = next(one for one in expected if str(one["generation"]) == version.tags["keywheel-generation"])
    assert json.loads(vault.get_secret(name, version.version).value) == wanted

# Who may not.
assert "7000215" in str(refused(ClientAuthenticationError, client(application("wrong")).get_secret, name))
with tempfile.NamedTemporaryFile("w") as token:
    token.write(told["pod_token"])
    token.flush()
    workload = WorkloadIdentityCredential(
        tenant_id=told["tenant"], client_id=told["client"], token_file_path=token.name, authority=told["authority"],
        disable_instance_discovery=True, **common,
    )
    assert client(workload).get_secret(name).value == held.value

# A secret from its making to its end.
refused(ResourceNotFoundError, vault.get_secret, "another")
first = vault.set_secret("another", "one", tags={"a": "b"}, content_type="text/plain")
second = vault.set_secret("another", "two")
assert vault.get_secret("another").value == "two" and vault.get_secret("another", first.properties.version).value == "one"
for number in range(60):
    vault.set_secret("another", str(number))
assert len(list(vault.list_properties_of_secret_versions("another"))) == 62
changed = vault.update_secret_properties("another", first.properties.version, tags={"c": "d"})
assert changed.tags == {"c": "d"} and changed.content_type == "text/plain"
refused(HttpResponseError, vault.set_secret, "another", "x" * 30000)
gone = vault.begin_delete_secret("another", _polling_interval=0).result()
assert gone.name == "another"
refused(ResourceNotFoundError, vault.get_secret, "another")
assert "recoverable" in str(refused(ResourceExistsError, vault.set_secret, "another", "three"))
assert vault.get_deleted_secret("another").recovery_id
vault.begin_recover_deleted_secret("another", _polling_interval=0).result()
assert vault.get_secret("another").value == "59"
vault.begin_delete_secret("another", _polling_interval=0).wait()
vault.purge_deleted_secret("another")
refused(ResourceNotFoundError, vault.get_deleted_secret, "another")

vault.update_secret_properties(name, held.properties.version, enabled=False)
assert "disabled" in str(refused(HttpResponseError, vault.get_secret, name))
