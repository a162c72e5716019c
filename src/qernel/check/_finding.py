"""What a check says."""

import equinox as eqx


class Finding(eqx.Module):
    """One property of an ansatz: its name, whether it holds, and the numbers behind the answer."""

    name: str
    passed: bool
    message: str


class AnsatzReport(eqx.Module):
    """What [`check_ansatz`][qernel.check.check_ansatz] found; `ok` if every property holds."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether every property holds."""
        return all(finding.passed for finding in self.findings)

    def __str__(self) -> str:
        return "\n".join(f"{'ok  ' if f.passed else 'FAIL'} {f.name}: {f.message}" for f in self.findings)
