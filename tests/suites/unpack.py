"""unpack.py FROM TO: the tests of the JSON Schema Test Suite, from the source package in FROM, into TO/json."""

import pathlib
import sys
import tarfile

package, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
[archive] = package.glob("*.tar.gz")
with tarfile.open(archive) as tar:
    for member in tar:
        parts = pathlib.PurePosixPath(member.name).parts[1:]
        wanted = parts[:2] in {("json", "tests"), ("json", "remotes")} or parts == ("json", "LICENSE")
        if not (wanted and member.isfile()) or ".." in parts:
            continue
        path = target.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tar.extractfile(member).read())
