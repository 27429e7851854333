#!/usr/bin/env python3
"""Reads a package out of a store without larder, by docs/store.md: read-store.py STORE FUNCTION[:VERSION] OUT.zip"""
import base64, hashlib, json, pathlib, sys

store, function, out = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
name, _, version = function.partition(":")
version = version or "$LATEST"


def blob(descriptor):
    algorithm, hexadecimal = descriptor["digest"].split(":")
    data = (store / "blobs" / algorithm / hexadecimal).read_bytes()
    if len(data) != descriptor["size"] or hashlib.sha256(data).hexdigest() != hexadecimal:
        sys.exit(f"{descriptor['digest']} is damaged")
    return data


if json.loads((store / "larder-store.json").read_text())["schema_version"] > 1:
    sys.exit("this store has a newer version")
for path in sorted((store / "runs").glob("*.json"), reverse=True):
    run = json.loads(path.read_text())
    if int(run["annotations"]["larder.format"]) > 1:
        print(f"{path.name} has a newer version", file=sys.stderr)
        continue
    for region in run["manifests"]:
        for entry in json.loads(blob(region))["manifests"]:
            arn = entry["annotations"]["larder.arn"].split(":")
            if entry["artifactType"] != "application/vnd.larder.function.v1+json" or arn[6:] != [name, version]:
                continue
            manifest = json.loads(blob(entry))
            record = json.loads(blob(manifest["config"]))
            if record["package"] is None:
                sys.exit(f"it is an image: {record['image']['image_uri']}")
            files = {layer["annotations"]["org.opencontainers.image.title"]: layer for layer in manifest["layers"]}
            package = blob(files["package.zip"])
            stated = base64.b64decode(record["package"]["code_sha256"])
            if hashlib.sha256(package).digest() != stated:
                sys.exit("the package is not what Lambda stated")
            out.write_bytes(package)
            print(f"{':'.join(arn)} of {path.stem}: {len(package)} bytes")
            sys.exit()
sys.exit(f"no run has {name}:{version}")
