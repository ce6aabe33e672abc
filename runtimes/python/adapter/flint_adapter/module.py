"""Loading the user's module."""

import importlib
import importlib.machinery
import importlib.util
import os
import site
import sys

from .output import trace

PACKAGE = "function"


class LoadError(Exception):
    """Carries the text that the contract words."""


class Loader:
    """Imports the entrypoint as a module of the package `function`, which is the code directory."""

    def __init__(self, code, entrypoint):
        self.code = code
        self.entrypoint = entrypoint
        self.name = PACKAGE + "." + os.path.normpath(entrypoint)[:-len(".py")].replace(os.sep, ".")
        self.prepared = False

    def load(self):
        """Return the handler, or raise LoadError."""
        if not self.entrypoint.endswith(".py") or not os.path.isfile(os.path.join(self.code, self.entrypoint)):
            raise LoadError("Failed to load entrypoint, file %s does not exist." % self.entrypoint)
        try:
            self.prepare()
            sys.modules.pop(self.name, None)  # of an attempt without a handler
            module = importlib.import_module(self.name)
        except ModuleNotFoundError as e:
            raise LoadError("Module not found: %s" % e.name)
        except SyntaxError as e:
            raise LoadError("Syntax error in %s:%s: %s" % (self.relative(e.filename), e.lineno, e.msg))
        except AttributeError as e:
            raise LoadError(str(e))
        except BaseException as e:  # SystemExit too: a module must not end the worker
            raise LoadError("Failed to load module: " + trace(e))
        handler = getattr(module, "main", None)
        if not callable(handler):
            raise LoadError("Function signature invalid. Did you forget to export a 'main' function?")
        return handler

    def relative(self, file):
        prefix = self.code.rstrip("/") + "/"
        return file[len(prefix):] if file and file.startswith(prefix) else file

    def prepare(self):
        if self.prepared:
            return
        self.add_paths()
        importlib.invalidate_caches()
        init = os.path.join(self.code, "__init__.py")
        if os.path.isfile(init):
            spec = importlib.util.spec_from_file_location(PACKAGE, init, submodule_search_locations=[self.code])
        else:
            spec = importlib.machinery.ModuleSpec(PACKAGE, None, is_package=True)
            spec.submodule_search_locations.append(self.code)
        package = importlib.util.module_from_spec(spec)
        sys.modules[PACKAGE] = package
        try:
            if spec.loader is not None:
                spec.loader.exec_module(package)
        except BaseException:
            del sys.modules[PACKAGE]
            raise
        self.prepared = True

    def add_paths(self):
        """The dependencies of the build, and last of all the function's own directories."""
        home = os.path.join(self.code, "runtime-env")
        packages = os.path.join(home, "lib", "python%d.%d" % sys.version_info[:2], "site-packages")
        if os.path.isdir(packages):
            site.addsitedir(packages)
            os.environ["VIRTUAL_ENV"] = home
            os.environ["PATH"] = os.path.join(home, "bin") + os.pathsep + os.environ.get("PATH", os.defpath)
        own = os.path.dirname(os.path.join(self.code, os.path.normpath(self.entrypoint)))
        for directory in (own, self.code):
            if directory not in sys.path:
                sys.path.append(directory)


def isolate(adapter):
    """Take the adapter and the packages of the machine off the path: a function has what its build has installed."""
    sys.path[:] = [
        p for p in sys.path
        if p and os.path.abspath(p) != adapter and os.path.basename(p.rstrip("/")) not in ("site-packages", "dist-packages")
    ]
