"""Calls AWS operations through boto3: one JSON object a line on standard input, one a line on standard output.

    -> {"service": "lambda", "region": "us-east-1", "operation": "create_function", "arguments": {…}}
    <- {"answer": {…}} or {"error": {"code": "…", "message": "…"}}

An argument `{"$file": "PATH"}` stands for that file's bytes, and `credentials` may name other ones than the
environment's. Where the calls go is boto3's own business: AWS_ENDPOINT_URL, or HTTPS_PROXY with AWS_CA_BUNDLE.
"""

import json
import sys

import boto3
from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError, ProxyConnectionError

clients = {}


def client(service, region, credentials):
    key = (service, region, json.dumps(credentials))
    if key not in clients:
        clients[key] = boto3.client(service, region_name=region, **credentials)
    return clients[key]


def with_files(value):
    if isinstance(value, dict) and list(value) == ["$file"]:
        with open(value["$file"], "rb") as file:
            return file.read()
    if isinstance(value, dict):
        return {name: with_files(inner) for name, inner in value.items()}
    return value


def call(operation, arguments):
    """moto_proxy closes each connection without saying so: one that boto3 takes for open may be gone when it is used."""
    for last in False, False, True:
        try:
            return operation(**arguments)
        except (ConnectionClosedError, ProxyConnectionError):
            if last:
                raise


for line in sys.stdin:
    asked = json.loads(line)
    service = client(asked["service"], asked["region"], asked.get("credentials", {}))
    try:
        answer = call(getattr(service, asked["operation"]), with_files(asked["arguments"]))
        answer.pop("ResponseMetadata", None)
        said = {"answer": answer}
    except ClientError as e:
        error = e.response["Error"]
        said = {"error": {"code": error.get("Code"), "message": error.get("Message")}}
    except BotoCoreError as e:
        said = {"error": {"code": type(e).__name__, "message": str(e)}}
    print(json.dumps(said, default=str), flush=True)
