"""The part of the packaging that pyproject.toml cannot say: the extension and its wheel's tag."""

import sysconfig

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, ExecError, PlatformError

NEEDED = """
ebpf could not be compiled. It needs a C compiler, Python's headers and the kernel's uapi headers:
  Debian, Ubuntu   apt-get install gcc libc6-dev python3-dev linux-libc-dev
  Fedora, RHEL     dnf install gcc glibc-devel python3-devel kernel-headers
  Alpine           apk add gcc musl-dev python3-dev linux-headers"""


class BuildExtension(build_ext):
    def build_extensions(self) -> None:
        try:
            super().build_extensions()
        except (CCompilerError, ExecError, PlatformError) as error:
            raise SystemExit(f"{error}\n{NEEDED}") from error


# The limited API does not exist for free-threaded interpreters: they get a wheel of their own.
limited_api = not sysconfig.get_config_var("Py_GIL_DISABLED")
setup(
    cffi_modules=["build_ffi.py:ffibuilder"],
    cmdclass={"build_ext": BuildExtension},
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if limited_api else {},
)
