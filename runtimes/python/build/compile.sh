#!/bin/sh
# Run in the work directory after the user's build command: leaves out what only the build needed, and byte-compiles the rest.
set -eu

# pip as prepare.sh has unpacked it has no INSTALLER; one that the user has installed has, and stays.
for info in runtime-env/lib/python*/site-packages/pip-*.dist-info; do
  if [ -d "$info" ] && [ ! -f "$info/INSTALLER" ]; then
    rm -rf "$info" "${info%/*}/pip" runtime-env/bin/pip runtime-env/bin/pip[0-9]*
  fi
done

# Packages are mounted read-only and their times are normalised: the byte code must not depend on them. What does not compile
# is not a reason to fail: dependencies carry templates and old syntax, and the function says itself what is wrong with it.
"$FLINT_EXECUTABLE" -m compileall -q -q -f --invalidation-mode unchecked-hash . || true
