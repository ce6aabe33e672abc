"""Puts pip into a fresh virtual environment by unpacking the wheels that Python carries, several times faster than installing
them. Ends with an error if there are none; prepare.sh then takes the slow way."""

import compileall
import glob
import os
import sys
import sysconfig
import zipfile

import ensurepip

SCRIPT = """#!%s
import sys
from pip._internal.cli.main import main
if __name__ == "__main__":
    sys.exit(main())
"""


def wheels():
    places = [os.path.join(os.path.dirname(ensurepip.__file__), "_bundled"), sysconfig.get_config_var("WHEEL_PKG_DIR")]
    found = {}
    for place in filter(None, places):
        for wheel in glob.glob(os.path.join(place, "*.whl")):
            found.setdefault(os.path.basename(wheel).partition("-")[0], wheel)
    return found


def main():
    found = wheels()
    if "pip" not in found:
        sys.exit("no wheel of pip")
    wanted = ["pip"] if sys.version_info >= (3, 12) else ["pip", "setuptools"]
    packages = sysconfig.get_path("purelib")
    for name in wanted:
        if name in found:
            with zipfile.ZipFile(found[name]) as wheel:
                wheel.extractall(packages)
    compileall.compile_dir(packages, quiet=2)
    scripts = sysconfig.get_path("scripts")
    for name in ("pip", "pip3", "pip%d.%d" % sys.version_info[:2]):
        path = os.path.join(scripts, name)
        with open(path, "w") as file:
            file.write(SCRIPT % sys.executable)
        os.chmod(path, 0o755)


main()
