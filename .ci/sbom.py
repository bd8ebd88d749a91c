"""The components of the release binary as CycloneDX 1.6, checked against its schema: `make sbom`.

What cargo builds into the program, with the features that are on (`cargo tree`); licences and edges from `cargo metadata`;
checksums from Cargo.lock. No date and no random number: the same sources give the same bytes.
"""

import json
import pathlib
import subprocess
import sys
import tomllib
import uuid

import cyclonedx.schema
import fastjsonschema
from cyclonedx.contrib.hash.factories import HashTypeFactory
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = "micro-gw"
# Names of components are hashed with it into the serial number.
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://micro-gw/sbom")


def cargo(*arguments: str) -> str:
    command = ["cargo", *arguments, "--locked"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def built(edges: str) -> set[tuple[str, str]]:
    """Names and versions of what `edges` lead to."""
    tree = cargo("tree", "--package", PROGRAM, "--edges", edges, "--prefix", "none", "--no-dedupe", "--format", "{p}")
    packages = (line.split() for line in tree.splitlines() if line)
    return {(name, version.removeprefix("v")) for name, version, *_ in packages}


def components(host: str) -> tuple[Component, list[Component], list[tuple[Component, list[Component]]]]:
    metadata = json.loads(cargo("metadata", "--format-version", "1", "--filter-platform", host))
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}
    everything, linked = built("normal,build"), built("normal,no-proc-macro")
    licences, hashes = LicenseFactory(), HashTypeFactory()

    by_id = {}
    for package in metadata["packages"]:
        key = (package["name"], package["version"])
        if key not in everything:
            continue
        # `MIT/Apache-2.0` is how old crates write it.
        licence = (package["license"] or "").replace("/", " OR ")
        if not licence:
            sys.exit(f"{key[0]} {key[1]} names no licence")
        registry = package["source"] is not None
        checksum = checksums[key]
        if registry and not checksum:
            sys.exit(f"{key[0]} {key[1]} has no checksum")
        by_id[package["id"]] = Component(
            type=ComponentType.APPLICATION if key[0] == PROGRAM else ComponentType.LIBRARY,
            name=key[0],
            version=key[1],
            bom_ref=f"{key[0]}@{key[1]}",
            licenses=[licences.make_with_expression(licence)],
            purl=PackageURL("cargo", None, *key) if registry else None,
            hashes=[hashes.from_hashlib_alg("sha256", checksum)] if checksum else [],
            scope=ComponentScope.REQUIRED,
            # What only the build runs is not in the program.
            properties=[Property(name="microgw:used", value="program" if key in linked else "build")],
        )
    found = {(component.name, component.version) for component in by_id.values()}
    if missing := everything - found:
        sys.exit(f"not in cargo's metadata: {sorted(missing)}")

    edges = []
    for node in metadata["resolve"]["nodes"]:
        if node["id"] not in by_id:
            continue
        kinds = ((dep["pkg"], {kind["kind"] for kind in dep["dep_kinds"]}) for dep in node["deps"])
        targets = [by_id[pkg] for pkg, kind in kinds if pkg in by_id and kind & {None, "build"}]
        edges.append((by_id[node["id"]], targets))
    root = next(component for component in by_id.values() if component.name == PROGRAM)
    return root, [component for component in by_id.values() if component is not root], edges


def check(text: str) -> None:
    """Against the schema of the standard; its other schemas are beside it."""
    folder = pathlib.Path(cyclonedx.schema.__file__).parent / "_res"

    def beside(uri: str) -> dict:
        name = uri.rsplit("/", 1)[1].removesuffix(".schema.json").removesuffix(".SNAPSHOT")
        return json.loads((folder / f"{name}.SNAPSHOT.schema.json").read_text())

    handlers = {"http": beside, "https": beside}
    validate = fastjsonschema.compile(beside("/bom-1.6"), handlers=handlers, use_formats=False)
    validate(json.loads(text))


def main() -> None:
    target = ROOT / (sys.argv[1] if len(sys.argv) > 1 else "target/micro-gw.cdx.json")
    version = subprocess.run(["rustc", "-vV"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    host = next(line.removeprefix("host: ") for line in version.splitlines() if line.startswith("host: "))
    root, others, edges = components(host)

    bom = Bom(components=others)
    bom.metadata.component = root
    bom.metadata.properties.add(Property(name="microgw:target", value=host))
    for component, targets in edges:
        bom.register_dependency(component, targets)
    names = "\n".join(sorted(f"{component.name} {component.version}" for component in [root, *others]))
    bom.serial_number = uuid.uuid5(NAMESPACE, f"{host}\n{names}")
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    document["metadata"].pop("timestamp", None)
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    check(text)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    linked = sum(1 for component in others if any(prop.value == "program" for prop in component.properties))
    print(f"{target.relative_to(ROOT)}: {len(others)} components, {linked} of them in the program")


if __name__ == "__main__":
    main()
