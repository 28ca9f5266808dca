"""Turns a release's checked source and one customer's constants into a binary, in the sandbox.

Owns: the generated `customer_auth.go`, how the kit is laid into a source, the Go command line and environment, and
the warm compiler cache. No ORM and no settings; it never sees an API key or a signing key.

Always holds: the same inputs give the same bytes, in any slot and any folder; the constants are in memory and in
the sandbox only, never on a disk of the host or a command line; a customer's build cannot write what another one reads.
"""

from build_farm.compile.binary import CompiledBinary, CompileFailed, CompileRequest, compile_plugin
from build_farm.compile.customer_auth import EmbeddedConstants, generate_customer_auth
from build_farm.compile.go_command import SandboxSettings, probe_compiler
from build_farm.compile.gokit_source import GoKit, read_gokit
from build_farm.compile.source_tree import SourceTree, lay_out_source
from build_farm.compile.toolchain import GoToolchain, find_toolchain
from build_farm.compile.warm_cache import WarmCache
from build_farm.compile.warm_up import WarmUp

__all__ = [
    "CompileFailed",
    "CompileRequest",
    "CompiledBinary",
    "EmbeddedConstants",
    "GoKit",
    "GoToolchain",
    "SandboxSettings",
    "SourceTree",
    "WarmCache",
    "WarmUp",
    "compile_plugin",
    "find_toolchain",
    "generate_customer_auth",
    "lay_out_source",
    "probe_compiler",
    "read_gokit",
]
